"""Tables of the page: function beside its normal ranges, and scar by each method."""

from collections.abc import Iterable, Iterator, Sequence
from textwrap import wrap

from pipeline.case import Biomarker, Verdict
from pipeline.results.codes import in_report
from pipeline.results.common import ResultBasis
from pipeline.results.normal_ranges import Assessment, Flag
from pipeline.results.page_text import SHORT
from pipeline.results.pen import AMBER, FAINT, RED, SMALL_CHARACTERS, SMALL_LINE, Pen

_LV_ROWS = (
    *("lv_edv", "lv_esv", "lv_sv", "lv_ef", "cardiac_output", "lv_mass"),
    *("lv_peak_ejection_rate", "lv_peak_filling_rate"),
)
_RV_ROWS = ("rv_edv", "rv_esv", "rv_sv", "rv_ef")
# Left edges of the columns: name, value, range, flag, index, its range, its flag.
_COLUMNS = (0.07, 0.27, 0.38, 0.475, 0.59, 0.735, 0.845)
_BESIDE_BULLSEYE = 86  # characters of 6 points
_SCAR_ROWS = (
    ("By network", "scar_mass_network", "scar_percent_network"),
    ("Above remote + 2 SD", "scar_mass_2sd", "scar_percent_2sd"),
    ("Above remote + 5 SD", "scar_mass_5sd", "scar_percent_5sd"),
    ("Full width at half maximum", "scar_mass_fwhm", "scar_percent_fwhm"),
    ("No-reflow, within the scar", "no_reflow_mass", None),
    ("LV mass, scar included", "lge_lv_mass", None),
    ("Probability of infarction", "infarct_probability", None),
)


def write_function(pen: Pen, basis: ResultBasis) -> None:
    """Write volumes, mass and function with their normal ranges, where any are known."""
    if not basis.contents.assessments.keys() & {*_LV_ROWS, *_RV_ROWS}:
        return
    heads = ("", "Value", "Normal", "", "Indexed to BSA", "Normal", "")
    for x, head in zip(_COLUMNS, heads, strict=True):
        pen.write(head, x=x, size=6.5, color=FAINT)
    pen.down(1.1)
    for title, rows in (("Left ventricle", _LV_ROWS), ("Right ventricle", _RV_ROWS)):
        found = [name for name in rows if name in basis.contents.assessments]
        if found:
            pen.write(title, size=7.5, fontweight="bold")
            pen.down(1.25)
            for name in found:
                _write_row(pen, basis, name)
            pen.down(0.25)
    for line in wrap(" ".join(_key(basis)), SMALL_CHARACTERS):
        pen.write(line, size=6, color=FAINT)
        pen.down(SMALL_LINE)
    pen.down(0.25)
    pen.rule()


def _key(basis: ResultBasis) -> Iterator[str]:
    """Say what the marks of the table mean, as far as it has any."""
    assessments = [
        basis.contents.assessments[one.name]
        for one in basis.contents.biomarkers
        if one.name.removesuffix("_index") in SHORT and one.value is not None
    ]
    if any(one.flag in (Flag.LOW, Flag.HIGH) for one in assessments):
        yield "▲ ▼: outside the normal range."
    if any(one.range is not None and one.flag is None for one in assessments):
        yield "( ): range of people of other ages, by which nothing is judged."
    if any(one.outside for one in assessments):
        yield "△ ▽: not judged, but beyond the range of other ages, or those of both sexes."
    if _doubtful(basis):
        yield "*: a check names this number for review; one that names none is about all of them."


def _write_row(pen: Pen, basis: ResultBasis, name: str) -> None:
    pen.write(SHORT[name], x=_COLUMNS[0] + 0.01, size=7.5)
    for one, columns in ((name, _COLUMNS[1:4]), (f"{name}_index", _COLUMNS[4:7])):
        assessment = basis.contents.assessments.get(one)
        if assessment is not None:
            _write_number(pen, basis, one, assessment, columns)
    pen.down(1.2)


def _write_number(
    pen: Pen, basis: ResultBasis, name: str, assessment: Assessment, columns: Sequence[float]
) -> None:
    value, limits, flag = columns
    biomarker = next(one for one in basis.contents.biomarkers if one.name == name)
    is_out = assessment.flag in (Flag.LOW, Flag.HIGH)
    look = {"fontweight": "bold", "color": RED} if is_out else {}
    _write_value(pen, basis, biomarker, value, **look)
    if assessment.range is not None:
        text = f"{assessment.range.lower:g} to {assessment.range.upper:g}"
        is_judged = assessment.flag is not None or biomarker.value is None
        pen.write(text if is_judged else f"({text})", x=limits, size=7.5, color=FAINT)
    if biomarker.value is not None:
        words, colour = _mark(assessment)
        pen.write(words, x=flag, size=7.5, color=colour)


def _mark(assessment: Assessment) -> tuple[str, str]:
    """Where a number lies, in words and with their colour."""
    if assessment.flag is not None:
        words = {Flag.LOW: "▼ low", Flag.HIGH: "▲ high", Flag.NORMAL: "normal"}
        return words[assessment.flag], FAINT if assessment.flag is Flag.NORMAL else RED
    if assessment.outside is not None:
        return ("▽ below" if assessment.outside is Flag.LOW else "△ above"), AMBER
    return "not judged", FAINT


def _doubtful(basis: ResultBasis) -> frozenset[str]:
    """Biomarkers with a value that a check names for review."""
    stated = {one.name for one in basis.contents.biomarkers if one.value is not None}
    named = (
        name
        for finding in basis.contents.quality
        if finding.verdict is Verdict.REVIEW
        for name in finding.concerns
    )
    return frozenset(stated.intersection(named))


def _write_value(pen: Pen, basis: ResultBasis, biomarker: Biomarker, x: float, **look: str) -> None:
    if biomarker.value is None:
        look, said = {"color": FAINT, "style": "italic"}, "not computed"
    else:
        unit = biomarker.unit.replace("m2", "m²").replace("1", "")
        mark = " *" if biomarker.name in _doubtful(basis) else ""
        said = f"{in_report(biomarker.value, biomarker.unit)} {unit}{mark}"
    pen.write(said, x=x, size=7.5, **look)


def write_scar(pen: Pen, basis: ResultBasis, notes: Iterable[str]) -> None:
    """Write the scar by each method, and what it is a part of; below, what is to be noted."""
    found = {one.name: one for one in basis.contents.biomarkers}
    for x, head in zip(_COLUMNS, ("Late enhancement", "Mass", "Share of LV mass"), strict=False):
        is_title = x == _COLUMNS[0]
        look = {"fontweight": "bold"} if is_title else {"color": FAINT}
        pen.write(head, x=x, size=7.5 if is_title else 6.5, **look)
    pen.down(1.25)
    for words, *names in _SCAR_ROWS:
        pen.write(words, x=_COLUMNS[0] + 0.01, size=7.5)
        for x, name in zip(_COLUMNS[1:], names, strict=False):
            if name in found:
                _write_value(pen, basis, found[name], x)
        pen.down(1.2)
    pen.down(0.5)
    for line in wrap(" ".join(notes), _BESIDE_BULLSEYE):
        pen.write(line, size=6, color=FAINT)
        pen.down(SMALL_LINE)
