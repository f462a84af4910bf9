"""One A4 page of a result: what it is, the patient, doubts, numbers, pictures, origin.

Everything on it stands in the structured report too, with the same digits.
"""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from textwrap import wrap
from typing import TYPE_CHECKING

from pipeline.case import Biomarker, CineCase, ModelUse, Verdict
from pipeline.lge_case import LgeCase
from pipeline.patient import SEXES
from pipeline.results.codes import in_report
from pipeline.results.common import (
    DISCLAIMER,
    NODE_MANUFACTURER,
    ResultBasis,
    models_beside,
    models_of,
)
from pipeline.results.page_pictures import draw_cine, draw_lge
from pipeline.results.page_tables import write_function
from pipeline.results.page_text import (
    FONT,
    overall,
    reasons,
    shown,
    shown_date,
    shown_name,
)
from pipeline.results.pen import (
    AMBER,
    FAINT,
    LEFT,
    RED,
    RIGHT,
    SMALL_CHARACTERS,
    SMALL_LINE,
    Pen,
)
from pipeline.results.source import as_text
from pipeline.results.statements import measured_slices, range_notes, stack_notes

if TYPE_CHECKING:
    from matplotlib.figure import Figure

A4_IN = (8.27, 11.69)
# Whatever an installation sets for itself: the same result gives the same page.
_STYLE = {"pdf.fonttype": 42, "font.family": FONT, "text.parse_math": False}

_MOST_REASONS = 7
_CHARACTERS = 124  # of 7 points in a line
_BOTTOM = 0.012
_CONVENTION = "Papillary muscles and trabeculae count to the cavity."
_SEGMENTS = "AHA segments from the insertions of the right ventricle"
_VERDICT_COLOURS = {Verdict.OK: "#2e7d32", Verdict.REVIEW: AMBER, Verdict.WITHHELD: RED}


@contextmanager
def draw_sheet(basis: ResultBasis) -> Iterator["Figure"]:
    """Draw the page of a result; the style holds until it is left."""
    from matplotlib import style
    from matplotlib.figure import Figure

    with style.context(["default", _STYLE]):
        figure = Figure(figsize=A4_IN, facecolor="white")
        pen = Pen(figure, 0.975)
        _write_title(pen, basis)
        _write_patient(pen, basis)
        _write_reasons(pen, basis)
        write_function(pen, basis)
        if isinstance(basis.case, CineCase):
            draw_cine(pen, basis.case)
        if isinstance(basis.case, LgeCase):
            draw_lge(pen, basis, basis.case)
        _write_origin(pen, basis)
        yield figure


def _write_title(pen: Pen, basis: ResultBasis) -> None:
    date = shown_date(basis.patient_study.StudyDate)
    pen.write(DISCLAIMER, size=8, fontweight="bold", color=RED)
    pen.down(1.8)
    pen.write("Cardiac MR", size=15, fontweight="bold")
    pen.write(shown(basis.context.institution), x=RIGHT, size=8, ha="right")
    pen.down(2.1)
    beside = ", with the cine of the study" if models_beside(basis.case) else ""
    pen.write(f"{basis.contents.analysis}{beside}", size=9, color=FAINT)
    pen.write(f"Date of study: {date}", x=RIGHT, size=8, ha="right")
    pen.down(1.6)
    if basis.context.replaces:
        pen.write(basis.context.replaces, size=8, fontweight="bold", color=AMBER)
        pen.down(1.5)
    pen.rule()


def _write_patient(pen: Pen, basis: ResultBasis) -> None:
    patient, of = basis.patient_study, basis.contents.demographics
    facts = {one.name: one for one in basis.contents.biomarkers}
    pen.write("Name", color=FAINT)
    pen.write(_cut(shown_name(as_text(patient.PatientName)), 80), x=LEFT + 0.075)
    pen.down(1.15)
    columns = (
        (
            ("ID", _cut(shown(as_text(patient.PatientID)) or "not stated", 36)),
            ("Born", shown_date(patient.PatientBirthDate)),
            ("Accession", _cut(shown(as_text(patient.AccessionNumber)) or "not stated", 36)),
        ),
        (
            ("Sex", SEXES.get(of.sex or "", "unknown")),
            ("Age", _fact(of.age, "years")),
        ),
        (
            ("Height, weight", f"{_fact(of.height, 'm')}, {_fact(of.weight, 'kg')}"),
            *(
                (words, _fact(facts[name], unit))
                for words, name, unit in (
                    ("BSA (Mosteller)", "bsa", "m²"),
                    ("Heart rate", "heart_rate", "/min"),
                )
                if name in facts  # late enhancement alone needs neither
            ),
        ),
    )
    top = pen.y
    for x, indent, rows in zip((LEFT, 0.47, 0.68), (0.075, 0.05, 0.115), columns, strict=True):
        pen.y = top
        for name, value in rows:
            pen.write(name, x=x, color=FAINT)
            pen.write(value, x=x + indent)
            pen.down(1.15)
    pen.y = top
    pen.down(1.15 * max(len(rows) for rows in columns) + 0.2)
    pen.rule()


def _cut(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[: most - 1]}…"


def _fact(fact: Biomarker, unit: str) -> str:
    if fact.value is None:
        return "unknown"
    return f"{in_report(fact.value, fact.unit)} {unit}"


def _write_reasons(pen: Pen, basis: ResultBasis) -> None:
    """Write the verdict and the plain reasons for it, as many as there is room for."""
    verdict, words = overall(basis)
    pen.write("●", size=9, color=_VERDICT_COLOURS[verdict])
    pen.write(words, x=LEFT + 0.02, size=8.5, fontweight="bold")
    pen.down(1.5)
    lines = [
        line
        for reason in reasons(basis)
        for line in wrap(reason, _CHARACTERS, subsequent_indent="   ")
    ]
    if len(lines) > _MOST_REASONS:
        left = len(lines) - _MOST_REASONS + 1
        lines = [*lines[: _MOST_REASONS - 1], f"{left} more lines stand in the structured report."]
    for line in lines:
        pen.write(line, x=LEFT + 0.02)
        pen.down()
    pen.down(0.3)
    pen.rule()


def _named(models: Iterable[ModelUse]) -> str:
    return ", ".join(f"{one.name} {one.version}" for one in models)


def _write_origin(pen: Pen, basis: ResultBasis) -> None:
    """Write what made the numbers and how they are meant, as far as there is room."""
    pen.rule()
    context, contents = basis.context, basis.contents
    models = _named(models_of(basis.case))
    if beside := models_beside(basis.case):
        models += f"; of the cine {_named(beside)}"
    is_cine = isinstance(basis.case, CineCase)
    how = f"Wall thickness by the centreline method, {_SEGMENTS}." if is_cine else f"{_SEGMENTS}."
    paragraphs = (
        (f"{NODE_MANUFACTURER} {context.software_version}, {context.made}. Networks: {models}.",),
        (*range_notes(contents, named=False), _CONVENTION, how),
        (*stack_notes(basis.case), *contents.comments, *measured_slices(basis.case)),
    )
    lines = [line for texts in paragraphs for line in wrap(" ".join(texts), SMALL_CHARACTERS)]
    room = int((pen.y - _BOTTOM) / pen.height_of(SMALL_LINE))
    for line in lines[:room]:
        pen.write(line, size=6, color=FAINT)
        pen.down(SMALL_LINE)
