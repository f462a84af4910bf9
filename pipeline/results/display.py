"""What OHIF-like viewers show: outlines and numbers on the key phase images (decision 11).

Such a viewer reads groups on a region of an image (TID 1410), and breaks off at the first group
without one. Beside an outline it writes at most five numbers; those of two outlines on one image
may lie over each other.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from highdicom.sr import GraphicTypeValues, ImageRegion, SourceImageForRegion

from pipeline.case import Biomarker
from pipeline.results.codes import QUANTITIES, STRUCTURES, KeyPhase
from pipeline.results.common import ResultBasis, ResultObject, identify
from pipeline.results.key_images import KeyPhaseImages, write_key_images
from pipeline.results.measurements import Group, region_group
from pipeline.results.outlines import Outline, outlines
from pipeline.results.profiles import KEY_ROLE
from pipeline.results.seg import subject, write_key_segmentations
from pipeline.results.source import SourceImage
from pipeline.results.square import on_square_pixels
from pipeline.results.sr import report_object

_NUMBERS_OF_A_BOX = 5
_INITIALS = ("lv", "rv", "edv", "esv", "sv", "ef")
Box = Sequence[Biomarker]


@dataclass(frozen=True, slots=True)
class _Mark:
    """An outline on a key phase image; `rank` tells how far from the middle of the heart it is."""

    phase: KeyPhase
    slice_index: int
    rank: tuple[int, float]
    image: SourceImage
    outline: Outline


def write_display(basis: ResultBasis) -> Iterator[ResultObject]:
    """Write key phase images, what was drawn on them, and reports that show it.

    What a network for research says stands in the whole report alone.
    """
    case = on_square_pixels(basis.case)
    how = "" if case is basis.case else ", interpolated to square pixels"
    basis = replace(basis, case=replace(case, classification=None))
    copies = write_key_images(basis, how)
    for one in copies:
        yield from one.objects
    yield from write_key_segmentations(basis, copies)
    for number, one in enumerate(copies):
        yield _report(basis, one, number)


def _report(basis: ResultBasis, copies: KeyPhaseImages, number: int) -> ResultObject:
    """Write the report of one phase; the first states every number, the others theirs."""
    phase = copies.phase
    biomarkers = basis.case.biomarkers
    if number:
        own = [one.biomarkers for one in basis.contents.structures if one.phase is phase]
        biomarkers = tuple(one for one in biomarkers if any(one.name in names for names in own))
    return report_object(
        basis,
        identify(f"{KEY_ROLE}_sr_{phase.name}", basis),
        groups=_groups(basis, _marks(basis, copies), _boxes(biomarkers)),
        images=[*copies.images.values()],
    )


def _boxes(biomarkers: Sequence[Biomarker]) -> list[Box]:
    """Share out what is stated of the whole heart, a few each, in the order of `QUANTITIES`.

    What is stated of a single wall segment stands on the page alone.
    """
    found = {one.name: one for one in biomarkers}
    whole = [found[name] for name, one in QUANTITIES.items() if name in found and not one.site]
    return [
        whole[start : start + _NUMBERS_OF_A_BOX]
        for start in range(0, len(whole), _NUMBERS_OF_A_BOX)
    ]


def _marks(basis: ResultBasis, copies: KeyPhaseImages) -> list[_Mark]:
    drawings = [one for one in basis.contents.drawings if one.phase is copies.phase]
    drawn = [z for z in copies.images if any(one.labels[z].any() for one in drawings)]
    middle = (drawn[0] + drawn[-1]) / 2
    return [
        _Mark(copies.phase, z, (order, abs(z - middle)), copies.images[z], outline)
        for z in drawn
        for order, outline in enumerate(
            outline for one in drawings for outline in outlines(one.labels[z])
        )
    ]


def _groups(basis: ResultBasis, marks: Sequence[_Mark], boxes: Sequence[Box]) -> list[Group]:
    """Put each box on an image of its own, from the middle outwards; then what has no box.

    More boxes than images go to further outlines of the same images.
    """
    ranked = sorted(marks, key=lambda mark: mark.rank)
    boxed = [*zip(ranked, boxes, strict=False)]
    plain = [mark for mark in marks if all(mark is not one for one, _ in boxed)]
    return [_group(basis, *one) for one in boxed] + [_group(basis, one, ()) for one in plain]


def _short_names() -> Mapping[str, str]:
    """Short name by code value of what is told of a ventricle: the lines of a box are narrow."""
    return {
        quantity.code.value: " ".join(
            word.upper() if word in _INITIALS else word for word in name.split("_")
        )
        for name, quantity in QUANTITIES.items()
        if name.startswith(("lv_", "rv_"))
    }


def _group(basis: ResultBasis, mark: _Mark, box: Box) -> Group:
    value, part, cell = mark.outline.value, mark.outline.part, mark.image.cell
    where = f"slice {mark.slice_index + 1}" + (f", part {part}" if part > 1 else "")
    group = region_group(
        basis,
        f"{subject(mark.phase, value)}, {where}",
        mark.phase,
        box,
        referenced_region=ImageRegion(
            GraphicTypeValues.POLYLINE,
            mark.outline.points,
            SourceImageForRegion(cell.sop_class_uid, cell.sop_instance_uid),
        ),
        finding_type=STRUCTURES[value].code,
    )
    short = _short_names()
    for item in group[0].ContentSequence:
        (name,) = item.ConceptNameCodeSequence
        name.CodeMeaning = short.get(name.CodeValue, name.CodeMeaning)
    return group
