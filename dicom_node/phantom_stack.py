"""A synthetic cine placed in the patient: stored pixels, positions, times and UIDs."""

import hashlib
import json
import uuid
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import TypedDict

import numpy as np
import numpy.typing as npt

from config.version import SOFTWARE_VERSION
from models.synthetic.cine import SyntheticCine

Float64 = npt.NDArray[np.float64]
UInt8 = npt.NDArray[np.uint8]
UInt16 = npt.NDArray[np.uint16]
Orientation = tuple[float, float, float, float, float, float]

_HIGHEST_STORED = 4095  # 12 bits
_HEART_LPS_MM = np.array([28.0, -14.0, 6.0])  # image centre of the middle slice


def _short_axis() -> Orientation:
    """Usual short axis, seen from the apex: RV on the left of the image, anterior wall above."""
    apex = np.array([0.62, -0.60, -0.50])
    apex /= np.linalg.norm(apex)
    down = np.array([0.0, 0.0, -1.0])
    down -= (down @ apex) * apex
    down /= np.linalg.norm(down)
    right = np.cross(down, -apex)
    cosines = [round(float(cosine), 9) + 0.0 for cosine in (*right, *down)]
    return (cosines[0], cosines[1], cosines[2], cosines[3], cosines[4], cosines[5])


SHORT_AXIS = _short_axis()


class StackGeometry(TypedDict, total=False):
    """What every synthetic stack can be told besides its seed."""

    slices: int
    rows: int
    columns: int
    pixel_spacing_mm: tuple[float, float]
    slice_spacing_mm: float
    slice_thickness_mm: float


@dataclass(frozen=True, slots=True)
class StudyForm:
    """How a cine is written as DICOM.

    Attributes
    ----------
    enhanced : bool
        Enhanced MR Image Storage, multi-frame, in place of one instance per image.
    series_per_slice : bool
        A series (Enhanced: with one instance) for each slice position.
    orientation : tuple of 6 floats
        ImageOrientationPatient. The base lies on the side of the normal (row x column cosines).
    mirrored : bool
        Mirror the images left to right and negate the row cosines: the same heart, but its apex
        now lies on the side of the normal.
    apex_first : bool
        Number the instances from the apex.
    rr_jitter : float
        Relative standard deviation of the RR interval from slice to slice, so that trigger times
        of one phase differ between slices.
    header : mapping of keyword to value
        Attributes set in every data set at last; None takes an attribute away.
    """

    enhanced: bool = False
    series_per_slice: bool = False
    orientation: Orientation = SHORT_AXIS
    mirrored: bool = False
    apex_first: bool = False
    rr_jitter: float = 0.0
    header: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class PlacedCine:
    """A cine in patient coordinates; slices run along the normal of the written orientation.

    Attributes
    ----------
    cine : SyntheticCine
    form : StudyForm
    seed : int
    pixels : uint16 [t, z, y, x]
    labels : uint8 [t, z, y, x]
    orientation : tuple of 6 floats
    positions_mm : float64 [z, 3]
        Centre of the first voxel of each slice (LPS).
    rr_ms : float64 [z]
    trigger_times_ms : float64 [t, z]
    window : (float, float)
        Centre and width that show all images alike.
    key : str
        Digest of all that decides the objects.
    """

    cine: SyntheticCine
    form: StudyForm
    seed: int
    pixels: UInt16
    labels: UInt8
    orientation: Orientation
    positions_mm: Float64
    rr_ms: Float64
    trigger_times_ms: Float64
    window: tuple[float, float]
    key: str

    @property
    def phases(self) -> int:
        """Number of cardiac phases."""
        return len(self.pixels)

    @property
    def slices(self) -> int:
        """Number of slice positions."""
        return len(self.positions_mm)

    @property
    def acquisition_order(self) -> tuple[int, ...]:
        """Slice indices in the order in which they are numbered, from the base by default."""
        base_is_last = not self.form.mirrored
        order = range(self.slices)
        return tuple(order if base_is_last == self.form.apex_first else reversed(order))

    @property
    def enhanced_groups(self) -> tuple[tuple[int, ...], ...]:
        """Slice indices that share an Enhanced instance, in the order of acquisition."""
        order = self.acquisition_order
        return tuple((position,) for position in order) if self.form.series_per_slice else (order,)

    def instance_uid(self, phase: int, position: int) -> str:
        """SOP Instance UID of the instance that holds this image."""
        if self.form.enhanced:
            return self.uid("enhanced", position if self.form.series_per_slice else "all")
        return self.uid("image", phase, position)

    def uid(self, *parts: str | int) -> str:
        """UID of a part of the study, see `uid_of`."""
        return uid_of(self.key, *parts)


def uid_of(key: str, *parts: str | int) -> str:
    """UID of a part of what a key stands for: a name-based UUID (PS3.5 B.2)."""
    name = "/".join((key, *map(str, parts)))
    return f"2.25.{uuid.uuid5(uuid.NAMESPACE_OID, name).int}"


def place(cine: SyntheticCine, seed: int, form: StudyForm) -> PlacedCine:
    """Place a cine in the patient.

    Parameters
    ----------
    cine : SyntheticCine
        Slices from the base to the apex.
    seed : int
        Names the patient, and draws the RR intervals.
    form : StudyForm
    """
    along_normal = 1 if form.mirrored else -1
    columns = slice(None, None, -1 if form.mirrored else 1)
    frames = cine.frames[:, ::along_normal, :, columns]
    stored = np.clip(np.rint(frames), 0, _HIGHEST_STORED).astype(np.uint16)
    pixels = np.ascontiguousarray(stored)
    orientation = _mirror(form.orientation) if form.mirrored else form.orientation
    random = np.random.default_rng([seed, 0xD1])
    steadiness = 1 + form.rr_jitter * np.clip(random.standard_normal(pixels.shape[1]), -2, 2)
    rr_ms = np.round(60_000 / cine.heart_rate_bpm * steadiness)
    width = float(np.rint(np.percentile(pixels, 99.5)))
    scale = rr_ms * cine.heart_rate_bpm / 60_000
    return PlacedCine(
        cine=cine,
        form=form,
        seed=seed,
        pixels=pixels,
        labels=np.ascontiguousarray(cine.labels[:, ::along_normal, :, columns]),
        orientation=orientation,
        positions_mm=_positions(cine, orientation),
        rr_ms=rr_ms,
        trigger_times_ms=np.asarray(
            np.round(np.outer(cine.trigger_times_ms, scale), 2), dtype=np.float64
        ),
        window=(width / 2, width),
        key=_key(cine, seed, form, pixels),
    )


def _mirror(orientation: Orientation) -> Orientation:
    across, *rest = np.split(np.asarray(orientation), 2)
    cosines = [float(cosine) for cosine in (*-across, *rest[0])]
    return (cosines[0], cosines[1], cosines[2], cosines[3], cosines[4], cosines[5])


def _positions(cine: SyntheticCine, orientation: Orientation) -> Float64:
    """Centres of the first voxels, evenly spaced along the normal about the heart; [z, 3]."""
    right, down = np.asarray(orientation[:3]), np.asarray(orientation[3:])
    _, slices, rows, columns = cine.frames.shape
    row_mm, column_mm = cine.pixel_spacing_mm
    corner = _HEART_LPS_MM - right * column_mm * (columns - 1) / 2 - down * row_mm * (rows - 1) / 2
    steps = (np.arange(slices) - (slices - 1) / 2) * cine.slice_spacing_mm
    return np.asarray(np.round(corner + np.outer(steps, np.cross(right, down)), 6))


def _key(cine: SyntheticCine, seed: int, form: StudyForm, pixels: UInt16) -> str:
    facts = {
        "version": SOFTWARE_VERSION,
        "seed": seed,
        "form": {name: str(value) for name, value in asdict(form).items()},
        "geometry": [*cine.pixel_spacing_mm, cine.slice_spacing_mm, cine.slice_thickness_mm],
        "times": cine.trigger_times_ms.tolist(),
        "person": [cine.heart_rate_bpm, cine.height_m, cine.weight_kg],
        "shape": pixels.shape,
    }
    digest = hashlib.sha256(json.dumps(facts, sort_keys=True).encode())
    digest.update(pixels.tobytes())
    return digest.hexdigest()
