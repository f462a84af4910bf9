"""From stored nuclear medicine tomograms to the stress and rest views of a perfusion study.

A view is an NM Image Storage instance (PS3.3 A.5) that holds a reconstructed emission tomogram,
gated or not; the time slots of a gated one are added up. Whether it is stress or rest is told by

1. the code of the patient's state in the acquisition context, where there is one;
2. else whole words of Image ID, then of the series description, then of protocol and procedure: a
   text that speaks of both, or of neither, tells nothing and the next one is asked. Words end at
   anything that is no letter and where a small letter meets a capital: `ReconRest-1` is rest.

The heart lies in a transaxial volume as the patient's coordinates say, and its axis is found by
`models.spect_axis`. A volume that a view code or a word says is short axis is taken in the
coordinates of its own voxels, because what such objects state of the patient's differs between
makers: its images show the anterior wall above and the septum on the left, as all do, and
which end is the apex is found, too.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
from pydicom import Dataset
from pydicom.uid import NuclearMedicineImageStorage

from models.spect_axis import (
    LEAST_LIKENESS,
    SUPERIOR,
    TOWARDS_APEX,
    LeftVentricle,
    find_left_ventricle,
)
from models.spect_sheet import sheet, without_small_marks
from models.tomogram import Tomogram
from pipeline.case import Float32, Float64, UInt8
from pipeline.elements import UNREADABLE, quiet_pydicom
from pipeline.errors import Rejection
from pipeline.pixels import DecodedInstance, decode_colour
from pipeline.views import TEXTS, View, told_view, words_of

_SHORT_AXIS, _LONG_AXES = "103340004", ("131185001", "131186000")  # SNOMED CT
_SHORT_WORDS, _LONG_WORDS = frozenset({"sa", "sax", "short"}), frozenset({"vla", "hla", "long"})
_SHORT_UP, _SHORT_APEX = np.array([0.0, -1.0, 0.0]), np.array([0.0, 0.0, -1.0])
_SPACING_MM = (1.5, 10.0)
_FEWEST_SLICES = 10
_LARGEST_MM = 800.0  # of a body; larger volumes would need any amount of memory
_STEEPEST = 0.87  # third of the axis' components; no heart in its body points so much down or up


@dataclass(frozen=True, slots=True)
class PerfusionView:
    """One view of a study, with the left ventricle found in it.

    Attributes
    ----------
    view : {"stress", "rest"}
    told_by : str
        What said so, in words.
    tomogram : Tomogram
    ventricle : LeftVentricle
    prone, corrected, short_axis, gated : bool
        Whether the patient lay prone, attenuation is corrected, slices are short-axis slices, and
        time slots were added up.
    sop_instance_uid, series_instance_uid, digest : str
    """

    view: View
    told_by: str
    tomogram: Tomogram
    ventricle: LeftVentricle
    prone: bool
    corrected: bool
    short_axis: bool
    gated: bool
    sop_instance_uid: str
    series_instance_uid: str
    digest: str


@dataclass(frozen=True, slots=True)
class PerfusionStudy:
    """Stress and rest, and what was left out for them.

    Attributes
    ----------
    stress, rest : PerfusionView
    notes : tuple of str
        What a reader must know of the choice.
    """

    stress: PerfusionView
    rest: PerfusionView
    notes: tuple[str, ...]

    def picture(self) -> UInt8:
        """The sheet that the classifier sees; uint8 [y, x, 3]."""
        stress, rest = self.stress, self.rest
        return sheet((stress.tomogram, stress.ventricle), (rest.tomogram, rest.ventricle))


def perfusion_view(instance: DecodedInstance) -> PerfusionView:
    """Read one view.

    Raises
    ------
    Rejection
        ``not_perfusion``: no NM image, or no emission; ``not_reconstructed``: projections or
        another kind of NM image; ``long_axis``; ``several_windows``: energy windows or isotopes in
        one volume; ``no_geometry``: spacing, position, orientation or order of slices are missing
        or of no use; ``unknown_view``: neither stress nor rest; ``no_left_ventricle``: nothing in
        it looks like one; ``unclear_orientation``: what is said to be transaxial looks like a
        short axis.
    """
    header = instance.header
    uid = str(header.get("SOPInstanceUID", ""))
    with quiet_pydicom():
        try:
            _refuse_other_kinds(header, uid)
            view, told_by = _view(header, uid)
            counts, spacing_mm = _slices(instance, uid)
            short = _is_short_axis(header, uid)
            affines = _of_short_axis(spacing_mm) if short else (_affine(header, spacing_mm, uid),)
            prone, corrected = _is_prone(header), _is_corrected(header)
        except UNREADABLE as error:
            reason = f"its header cannot be read ({type(error).__name__})"
            raise Rejection("no_geometry", reason, uid) from error
    tomogram, ventricle = _located([Tomogram(counts, affine) for affine in affines], uid, short)
    return PerfusionView(
        view=view,
        told_by=told_by,
        tomogram=tomogram,
        ventricle=ventricle,
        prone=prone,
        corrected=corrected,
        short_axis=short,
        gated=_is_gated(header),
        sop_instance_uid=uid,
        series_instance_uid=str(header.get("SeriesInstanceUID", "")),
        digest=instance.digest,
    )


def perfusion_study(views: Iterable[PerfusionView]) -> PerfusionStudy:
    """Choose the pair to compare; the caller answers for their being of one patient.

    Of several views those are taken that were made alike: both supine or both prone; then both
    with or both without correction of attenuation; then both transaxial or both short axis; then
    both gated or both not. Of pairs that are equal in this the supine one is taken, then the
    corrected one, the transaxial one, the one that is not gated, and the first by their UIDs.

    Raises
    ------
    Rejection
        ``no_stress_series`` or ``no_rest_series``.
    """
    listed = sorted(views, key=lambda one: one.sop_instance_uid)
    stress = [one for one in listed if one.view == "stress"]
    rest = [one for one in listed if one.view == "rest"]
    if not stress:
        raise Rejection("no_stress_series", "no stress series")
    if not rest:
        raise Rejection("no_rest_series", "no rest series")
    chosen = min(product(stress, rest), key=_unlikeness)
    return PerfusionStudy(*chosen, notes=tuple(_notes(*chosen, len(listed) - 2)))


def display_capture(dataset: Dataset) -> UInt8:
    """The picture of a Secondary Capture without its lettering; uint8 [y, x, 3].

    Nothing here decides whether it shows myocardial perfusion at all; lettering that touches a
    picture stays, see `models.spect_sheet.without_small_marks`.

    Raises
    ------
    Rejection
        ``unreadable_pixels``; ``several_pictures``; ``no_picture``: nothing but lettering.
    """
    uid = str(dataset.get("SOPInstanceUID", ""))
    pictures = decode_colour(dataset, uid)
    if len(pictures) > 1:
        raise Rejection("several_pictures", f"it holds {len(pictures)} pictures", uid)
    try:
        return without_small_marks(pictures[0])
    except ValueError as error:
        raise Rejection("no_picture", str(error), uid) from error


def _unlikeness(pair: tuple[PerfusionView, PerfusionView]) -> tuple[bool, ...]:
    """Of a pair that is to be preferred this is the lesser."""
    stress, rest = ((one.prone, not one.corrected, one.short_axis, one.gated) for one in pair)
    apart = tuple(one != other for one, other in zip(stress, rest, strict=True))
    return (*apart, *stress, *rest)


def _notes(stress: PerfusionView, rest: PerfusionView, left_out: int) -> Iterator[str]:
    if stress.prone != rest.prone:
        yield "one view was taken prone, the other supine"
    if stress.corrected != rest.corrected:
        yield "attenuation is corrected in one view only"
    if left_out:
        yield f"{left_out} more tomograms were left out"


def _refuse_other_kinds(header: Dataset, uid: str) -> None:
    if header.get("SOPClassUID") != NuclearMedicineImageStorage:
        raise Rejection("not_perfusion", "it is no nuclear medicine image", uid)
    kind = [*_texts(header, "ImageType"), "", "", "", ""]
    if kind[2] not in ("RECON TOMO", "RECON GATED TOMO"):
        reason = f"it is no reconstructed tomogram (image type {kind[2] or 'not stated'})"
        raise Rejection("not_reconstructed", reason, uid)
    if kind[3] not in ("", "EMISSION"):
        raise Rejection("not_perfusion", f"it shows {kind[3].lower()}, not emission", uid)
    if int(header.get("NumberOfEnergyWindows") or 1) > 1:
        raise Rejection("several_windows", "it mixes energy windows", uid)


def _texts(header: Dataset, keyword: str) -> list[str]:
    value = header.get(keyword)
    if value is None:
        return []
    values = [value] if isinstance(value, str) else list(value)
    return [str(one).strip() for one in values]


def _codes(header: Dataset, keyword: str) -> list[tuple[str, str]]:
    """Scheme and value of the items of a sequence of codes."""
    return [
        (str(item.get("CodingSchemeDesignator", "")), str(item.get("CodeValue", "")))
        for item in header.get(keyword) or ()
    ]


def _view(header: Dataset, uid: str) -> tuple[View, str]:
    context = header.get("AcquisitionContextSequence") or ()
    states = [code for item in context for code in _codes(item, "ConceptCodeSequence")]
    procedures = [
        str(item.get("CodeMeaning", "")) for item in header.get("ProcedureCodeSequence") or ()
    ]
    texts = {keyword: str(header.get(keyword, "")) for keyword in TEXTS}
    told = told_view(states, {**texts, "ProcedureCodeSequence": " ".join(procedures)})
    if told is None:
        raise Rejection("unknown_view", "nothing says whether it is stress or rest", uid)
    return told


def _is_short_axis(header: Dataset, uid: str) -> bool:
    values = {value for _, value in _codes(header, "ViewCodeSequence")}
    words = {word for keyword in TEXTS[:2] for word in words_of(str(header.get(keyword, "")))}
    if values & set(_LONG_AXES) or (_SHORT_AXIS not in values and words & _LONG_WORDS):
        raise Rejection("long_axis", "its slices are long-axis slices", uid)
    return _SHORT_AXIS in values or bool(words & _SHORT_WORDS)


def _slices(instance: DecodedInstance, uid: str) -> tuple[Float32, Float64]:
    """Counts [z, y, x] in the order of the slices, and their distances along x, y and z.

    A spacing below zero stacks slices against the normal (PS3.3 C.8.4.15).
    """
    header, images = instance.header, instance.images
    number = int(header.get("NumberOfSlices") or 0)
    vector = np.atleast_1d(np.array(header.get("SliceVector", ()), dtype=int))
    complete = set(vector.tolist()) == set(range(1, number + 1))
    if (
        len(vector) != len(images)
        or not complete
        or (len(images) > number and not _is_gated(header))
    ):
        raise Rejection("no_geometry", "its slice vector does not order its frames", uid)
    if number < _FEWEST_SLICES:
        raise Rejection("no_geometry", f"its {number} slices do not hold a heart", uid)
    counts = np.zeros((number, *images.shape[1:]), np.float32)
    np.add.at(counts, vector - 1, np.clip(images, 0, None))
    row_mm, column_mm = (float(value) for value in header.PixelSpacing)
    between = header.get("SpacingBetweenSlices") or header.get("SliceThickness")
    spacing = np.array([column_mm, row_mm, float(between or "nan")])
    size = np.abs(spacing)
    if (
        not ((size >= _SPACING_MM[0]) & (size <= _SPACING_MM[1])).all()
        or min(row_mm, column_mm) < 0
    ):
        raise Rejection("no_geometry", "its voxels have no size that can be", uid)
    if max(np.array(counts.shape)[::-1] * size) > _LARGEST_MM:
        raise Rejection("no_geometry", "it is larger than a body is wide", uid)
    return counts, spacing


def _affine(header: Dataset, spacing_mm: Float64, uid: str) -> Float64:
    """Voxel index to patient coordinates (LPS), of a volume that is nearly transaxial."""
    detectors = list(header.get("DetectorInformationSequence") or ())
    place: Sequence[float] = [float(v) for v in _of_first(detectors, "ImagePositionPatient")]
    cosines = np.array([float(v) for v in _of_first(detectors, "ImageOrientationPatient")])
    if len(place) != 3 or len(cosines) != 6 or not np.isfinite([*place, *cosines]).all():
        raise Rejection("no_geometry", "position or orientation are missing", uid)
    across, down = cosines[:3], cosines[3:]
    normal = np.cross(across, down)
    if abs(np.linalg.norm(normal) - 1) > 0.01:
        raise Rejection("no_geometry", "its orientation is none", uid)
    affine = np.eye(4)
    affine[:3, :3] = np.stack([across, down, normal], axis=1) * spacing_mm
    affine[:3, 3] = place
    return affine


def _of_first(detectors: Sequence[Dataset], keyword: str) -> Sequence[str]:
    found: Sequence[str] = (detectors[0].get(keyword) if detectors else None) or ()
    return found


def _is_gated(header: Dataset) -> bool:
    return _texts(header, "ImageType")[2] == "RECON GATED TOMO"


def _is_corrected(header: Dataset) -> bool:
    """By the corrections that are stated, or a word."""
    stated = "ATTN" in _texts(header, "CorrectedImage")
    words = {word for keyword in TEXTS[:2] for word in words_of(str(header.get(keyword, "")))}
    return stated or bool(words & {"ac", "irac", "ctac"})


def _is_prone(header: Dataset) -> bool:
    """By the modifier of the patient's orientation, the patient position, or a word."""
    orientation = header.get("PatientOrientationCodeSequence") or ()
    meanings = [
        str(modifier.get("CodeMeaning", "")).lower()
        for item in orientation
        for modifier in item.get("PatientOrientationModifierCodeSequence") or ()
    ]
    if meanings:
        return "prone" in meanings
    position = str(header.get("PatientPosition", ""))
    words = {word for keyword in TEXTS[:2] for word in words_of(str(header.get(keyword, "")))}
    return position.endswith("P") or bool(words & {"prone", "pron"})


def _of_short_axis(spacing_mm: Float64) -> tuple[Float64, Float64]:
    """Voxel index to mm to the right, down, and away from the apex: that first, or that last."""
    size = np.abs(spacing_mm)
    return np.diag([*size, 1.0]), np.diag([*size[:2], -size[2], 1.0])


def _located(
    candidates: Sequence[Tomogram], uid: str, short: bool
) -> tuple[Tomogram, LeftVentricle]:
    """The candidate in which something looks most like a left ventricle, and that."""
    towards, up = (_SHORT_APEX, _SHORT_UP) if short else (TOWARDS_APEX, SUPERIOR)
    tries = [(tomogram, find_left_ventricle(tomogram, towards, up)) for tomogram in candidates]
    found = [(tomogram, lv) for tomogram, lv in tries if lv is not None]
    best = max(found, key=lambda pair: pair[1].likeness, default=None)
    if best is None or best[1].likeness < LEAST_LIKENESS:
        likeness = 0.0 if best is None else best[1].likeness
        reason = f"nothing in it looks like a left ventricle (likeness {likeness:.2f})"
        raise Rejection("no_left_ventricle", reason, uid)
    if not short and abs(best[1].axis[2]) > _STEEPEST:
        reason = "the heart points along the body: a short axis that does not say so"
        raise Rejection("unclear_orientation", reason, uid)
    return best
