"""Text of the page: what its font can draw, and what it says in few words."""

import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path

from pipeline.case import Biomarker, Verdict
from pipeline.results.codes import QUANTITIES
from pipeline.results.common import ResultBasis
from pipeline.results.statements import doubts
from pipeline.stages.curve import PEAK_RATES

FONT = "DejaVu Sans"
AS_IN_VIEWER = "as in the viewer"
SHORT: Mapping[str, str] = {
    "lv_edv": "EDV",
    "lv_esv": "ESV",
    "lv_sv": "Stroke volume",
    "lv_ef": "Ejection fraction",
    "lv_mass": "Mass",
    "cardiac_output": "Cardiac output",
    "lv_peak_ejection_rate": "Peak ejection rate",
    "lv_peak_filling_rate": "Peak filling rate",
    "rv_edv": "EDV",
    "rv_esv": "ESV",
    "rv_sv": "Stroke volume",
    "rv_ef": "Ejection fraction",
}
# They need heart rate or trigger times, too: without these alone nothing speaks against the rest.
_NEED_MORE = ("cardiac_output", *PEAK_RATES)
_MOST_NAMES = 5
_OVERALL: Mapping[Verdict, str] = {
    Verdict.OK: "Automatic checks found nothing against the numbers",
    Verdict.REVIEW: "To be reviewed",
    Verdict.WITHHELD: "To be reviewed, some numbers are withheld",
}


def shown_name(name: str) -> str:
    """Name of a person (VR PN, PS3.5 6.2.1) in those of its scripts that can be drawn."""
    groups = [_spoken(group) for group in name.split("=")]
    drawn = [group for group in groups if group and is_drawable(group)]
    if drawn:
        return " / ".join(dict.fromkeys(drawn))
    return AS_IN_VIEWER if any(groups) else "not stated"


def shown(text: str) -> str:
    """A text as it stands, or where it can be read."""
    composed = unicodedata.normalize("NFC", text)
    return composed if is_drawable(composed) else AS_IN_VIEWER


def shown_date(value: str) -> str:
    """A date (VR DA) as year-month-day."""
    return f"{value[:4]}-{value[4:6]}-{value[6:8]}" if len(value) == 8 else "not stated"


def is_drawable(text: str) -> bool:
    """Whether the font holds every character, and in the order in which they are written."""
    glyphs = _glyphs()
    return all(
        ord(character) in glyphs
        and unicodedata.bidirectional(character) not in ("R", "AL")
        and character.isprintable()
        for character in text
    )


@cache
def _glyphs() -> frozenset[int]:
    from matplotlib import get_data_path
    from matplotlib.font_manager import get_font

    path = Path(get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf"
    return frozenset(get_font(path).get_charmap())


def _spoken(group: str) -> str:
    """Family name, then the others, of one component group."""
    family, *others = unicodedata.normalize("NFC", group).strip().split("^")
    rest = " ".join(part.strip() for part in others if part.strip())
    return ", ".join(part for part in (family.strip(), rest) if part)


def overall(basis: ResultBasis) -> tuple[Verdict, str]:
    """Judge the whole by the worst of its checks, and by what of volumes and mass is withheld."""
    found = {finding.verdict for finding in basis.contents.quality}
    measured = SHORT.keys() - set(_NEED_MORE)
    if any(one.withheld for one in basis.case.biomarkers if one.name in measured):
        found.add(Verdict.WITHHELD)
    worst = next((one for one in (Verdict.WITHHELD, Verdict.REVIEW) if one in found), Verdict.OK)
    return worst, _OVERALL[worst]


def reasons(basis: ResultBasis) -> Iterator[str]:
    """What speaks against numbers, and why some are not there; the gravest first.

    What only needs more than the images, as indices a height, is said last.
    """
    contents = basis.contents
    yield from contents.findings
    not_computed = _not_computed(contents.biomarkers)
    grave = {why for why, names in not_computed.items() if not all(map(_needs_more, names))}
    yield from (_in_words(why, not_computed[why]) for why in not_computed if why in grave)
    for doubt in doubts(basis.case):
        if not any(reason in doubt for reason in not_computed):
            yield doubt
    yield from (_in_words(why, not_computed[why]) for why in not_computed if why not in grave)


def _needs_more(name: str) -> bool:
    return name in (*_NEED_MORE, "heart_rate", "bsa") or name.endswith("_index")


def _in_words(reason: str, names: Sequence[str]) -> str:
    meanings = ", ".join(QUANTITIES[name].code.meaning for name in names[:_MOST_NAMES])
    more = f" and {len(names) - _MOST_NAMES} more" if len(names) > _MOST_NAMES else ""
    return f"Not computed, because {reason}: {meanings}{more}."


def _not_computed(biomarkers: tuple[Biomarker, ...]) -> Mapping[str, list[str]]:
    """Withheld numbers by reason; segments of the wall show theirs in the bullseye."""
    grouped: dict[str, list[str]] = {}
    for one in biomarkers:
        by_segment = one.name.rpartition("_")[2].isdigit()
        if one.withheld and not by_segment:
            grouped.setdefault(one.withheld, []).append(one.name)
    return grouped
