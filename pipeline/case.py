"""The immutable values that travel through the chains.

Arrays state their axis order: `t` cardiac phase, `z` slice position, `y` row, `x` column.
Coordinates are DICOM patient coordinates (LPS) in mm, times in ms, volumes in ml, masses in g.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

import numpy as np
import numpy.typing as npt
from pydicom import Dataset

from pipeline.classification import Classification

Float32 = npt.NDArray[np.float32]
Float64 = npt.NDArray[np.float64]
UInt8 = npt.NDArray[np.uint8]
Mask = npt.NDArray[np.bool_]

LV_CAVITY = 1
LV_MYOCARDIUM = 2
RV_CAVITY = 3
# 4 is taken by `pipeline.results.codes.LV_EXPLANATION`. In a label map scar is no longer
# LV_MYOCARDIUM, and no-reflow no longer SCAR.
SCAR = 5
NO_REFLOW = 6
SEGMENT_LABELS: Mapping[int, str] = {
    LV_CAVITY: "LV cavity",
    LV_MYOCARDIUM: "LV myocardium",
    RV_CAVITY: "RV cavity",
    SCAR: "Scar",
    NO_REFLOW: "No-reflow",
}


@dataclass(frozen=True, slots=True)
class FrameSource:
    """The image one cell of the stack came from.

    Attributes
    ----------
    sop_instance_uid, sop_class_uid, series_instance_uid : str
        Identity of the source instance.
    frame_number : int or None
        One-based frame of an Enhanced MR instance; None for a classic, single-frame one.
    trigger_time_ms : float
        Time of this image after the R wave.
    """

    sop_instance_uid: str
    sop_class_uid: str
    series_instance_uid: str
    frame_number: int | None
    trigger_time_ms: float


@dataclass(frozen=True, slots=True)
class Sources:
    """The instances a case rests on.

    Attributes
    ----------
    sources : tuple[t] of tuple[z] of FrameSource or None
        None where the image is missing. What is no stack has one row.
    missing : tuple of str
        What is missing or uneven, in words (cells, slices, declared but absent images).
    missing_fraction : float
        Share of the slice x phase grid, evident missing slices included, that is absent.
    headers : mapping of SOP Instance UID to Dataset
        The source data sets without pixel data, as received; never changed.
    digests : mapping of SOP Instance UID to str
        SHA-256 of each instance the result rests on (see `pipeline.versions.digest_bytes`).
    """

    sources: tuple[tuple[FrameSource | None, ...], ...]
    missing: tuple[str, ...]
    missing_fraction: float
    headers: Mapping[str, Dataset] = field(repr=False)
    digests: Mapping[str, str] = field(repr=False)

    @property
    def series_instance_uids(self) -> tuple[str, ...]:
        """Sorted SeriesInstanceUIDs the case was made from."""
        return tuple(
            sorted({cell.series_instance_uid for row in self.sources for cell in row if cell})
        )


@dataclass(frozen=True, slots=True)
class ShortAxisStack(Sources):
    """What every assembled short-axis stack has, beside its `Sources`.

    Attributes
    ----------
    frames : float32 [t, z, y, x]
        Modality-rescaled intensities. A missing cell holds its temporal neighbour and has no
        source. Slices run along `+normal`; phases by trigger time.
    positions_mm : float64 [z, 3]
        ImagePositionPatient (LPS, mm): centre of the first voxel of each slice.
    row_cosines, column_cosines : float64 [3]
        Direction of increasing column index (x) and of increasing row index (y), as in
        ImageOrientationPatient (PS3.3 C.7.6.2.1.1).
    pixel_spacing_mm : (row_mm, column_mm)
        Distance between rows (along y) and between columns (along x).
    slice_spacing_mm : float
        Median distance between neighbouring slice positions along the normal; gaps included.
    slice_extent_mm : float64 [z]
        The length along the normal that each slice stands for: half the distance to either
        neighbour; the nominal spacing counts beyond the ends. Sums to the covered length.
    """

    frames: Float32
    positions_mm: Float64
    row_cosines: Float64
    column_cosines: Float64
    pixel_spacing_mm: tuple[float, float]
    slice_spacing_mm: float
    slice_extent_mm: Float64

    @property
    def normal(self) -> Float64:
        """Unit normal of the slices (LPS), the direction of increasing slice index; [3]."""
        return np.asarray(np.cross(self.row_cosines, self.column_cosines), dtype=np.float64)

    @property
    def affine(self) -> Float64:
        """4x4 matrix from voxel index (x, y, z, 1) to LPS mm, for an evenly spaced stack."""
        row_mm, column_mm = self.pixel_spacing_mm
        affine = np.eye(4)
        affine[:3, 0] = self.row_cosines * column_mm
        affine[:3, 1] = self.column_cosines * row_mm
        affine[:3, 2] = self.normal * self.slice_spacing_mm
        affine[:3, 3] = self.positions_mm[0]
        return affine


@dataclass(frozen=True, slots=True)
class CineStack(ShortAxisStack):
    """One assembled short-axis cine stack.

    Attributes
    ----------
    trigger_times_ms : float64 [t]
        Median over the slices.
    times_are_estimates : bool
        The images state no trigger times: they are made from temporal positions or clock times.
    """

    trigger_times_ms: Float64
    times_are_estimates: bool = False


@dataclass(frozen=True, slots=True)
class Relevance:
    """Which slices show the LV, and where the heart lies.

    Attributes
    ----------
    probability : float64 [z]
        Probability that the slice shows the LV.
    relevant : tuple[z] of bool
        One contiguous run of slices.
    centre_yx : (float, float)
        Heart centre in pixels (row, column), the same for the whole stack.
    """

    probability: Float64
    relevant: tuple[bool, ...]
    centre_yx: tuple[float, float]


@dataclass(frozen=True, slots=True)
class Phases:
    """End diastole and end systole, zero-based phase indices.

    `unsure` names those ("ED", "ES") that the detector was not sure of.
    """

    ed: int
    es: int
    unsure: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Segmentation:
    """Label maps of every phase.

    Attributes
    ----------
    labels : uint8 [t, z, y, x]
        0 background, else a key of `SEGMENT_LABELS`.
    first_look : uint8 [2, z, y, x], optional
        Of ED and ES, as every other phase is labelled; those of `labels` are more careful.
    uncleaned : uint8 [2, z, y, x], optional
        Those more careful ones, before islands and holes went.
    """

    labels: UInt8
    first_look: UInt8 | None = None
    uncleaned: UInt8 | None = None


@dataclass(frozen=True, slots=True)
class Regression:
    """LV volumes that a network measured directly, and where it saw them.

    Attributes
    ----------
    edv_ml, esv_ml : float
        Of the LV cavity, gaps between slices included.
    explanation_ed, explanation_es : bool [z, y, x]
        Explains the volume; no contour that was measured.
    """

    edv_ml: float
    esv_ml: float
    explanation_ed: Mask
    explanation_es: Mask


class Verdict(StrEnum):
    """What a quality check says of a result."""

    OK = "ok"
    REVIEW = "review"
    WITHHELD = "withheld"


@dataclass(frozen=True, slots=True)
class QualityFinding:
    """One quality check.

    `withholds` names the biomarkers it takes back (verdict withheld), `concerns` those that a
    review is about, where it is not about all that is measured (`pipeline.verdicts`).
    """

    check: str
    verdict: Verdict
    reason: str
    value: float | None = None
    withholds: tuple[str, ...] = ()
    concerns: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Biomarker:
    """A measured quantity; `value` is None exactly when `withheld` says why."""

    name: str
    value: float | None
    unit: str
    withheld: str | None = None


@dataclass(frozen=True, slots=True)
class ModelUse:
    """A network that took part: its name, version, SHA-256 of the weights file, and licence."""

    name: str
    version: str
    weights_sha256: str
    licence: str


@dataclass(frozen=True, slots=True)
class StageRecord:
    """Provenance of one stage."""

    stage: str
    seconds: float
    device: str
    models: tuple[ModelUse, ...] = ()


@dataclass(frozen=True, slots=True)
class BaseCase:
    """What every case has: where it comes from, and what the stages so far say of it."""

    stack: Sources
    biomarkers: tuple[Biomarker, ...] = ()
    quality: tuple[QualityFinding, ...] = ()
    provenance: tuple[StageRecord, ...] = ()
    classification: Classification | None = None

    @property
    def input_digests(self) -> tuple[str, ...]:
        """What the results of the case are computed from; decides their UIDs."""
        return tuple(self.stack.digests.values())


@dataclass(frozen=True, slots=True)
class Case(BaseCase):
    """A stack and what the stages so far have found in it; each stage returns a new one."""

    stack: ShortAxisStack
    relevance: Relevance | None = None
    segmentation: Segmentation | None = None

    @property
    def outlines(self) -> UInt8:
        """Label maps [n, z, y, x] that geometry is judged by, LV and RV alone; the largest first.

        Raises
        ------
        ValueError
            Nothing is segmented yet.
        """
        raise NotImplementedError


@dataclass(frozen=True, slots=True)
class CineCase(Case):
    """A cine stack and what was found in it."""

    stack: CineStack
    phases: Phases | None = None
    regression: Regression | None = None
    volume_curve_ml: Mapping[str, Float64] | None = None

    @property
    def outlines(self) -> UInt8:
        """Label maps of ED and ES, [2, z, y, x]."""
        if self.phases is None or self.segmentation is None:
            raise ValueError("outlines come after detection and segmentation")
        return self.segmentation.labels[[self.phases.ed, self.phases.es]]
