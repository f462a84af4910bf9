"""AHA segments of a short-axis stack and how far through the wall scar reaches in each.

Cerqueira MD et al., Circulation 2002;105:539: six segments at the base (1-6) and at the middle
(7-12), four near the apex (13-16), counted from the anterior wall over the septum; the septum lies
between the two insertions of the right ventricle and is halved, the free wall is cut in four.
Segment 17, the apex beyond the cavity, is not assessed: a short-axis stack does not show it.

Which insertion is the anterior one follows from patient coordinates (LPS) and the direction from
base to apex alone: with the septum towards `s` and the apex towards `a` the anterior wall of a
heart in its usual situs lies towards `s x a`. No convention about how the image is turned or
mirrored is used. Masks are [z, y, x]; affines map voxel indices (x, y, z, 1) to mm.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import SimpleITK as sitk  # noqa: N813 - its own usual name

from pipeline.case import Float32, Float64, Mask

NO_INSERTION = "the insertions of the right ventricle are not known"
APEX_NOT_SHOWN = "segment 17 is not assessed: a short-axis stack does not show the apex"

_BASAL = (2, 3, 4, 5, 6, 1)  # from the anterior insertion over the septum
_APICAL = (14, 15, 16, 13)  # from the septum towards inferior
_REACH_MM = 4.0  # RV farther than this from the LV wall does not touch the septum
_ARC_DEG = (40.0, 220.0)  # what a septum can span about the LV
_TILT_DEG = 20.0  # planes more inclined to each other show other parts of the wall
_CHORDS = 360

Int8 = npt.NDArray[np.int8]


@dataclass(frozen=True, slots=True)
class Septum:
    """Where the right ventricle meets the left in one slice.

    Attributes
    ----------
    centre_mm : float64 [3]
        Centre of the LV cavity (LPS).
    directions : float64 [3, 3]
        From there to the anterior insertion, the middle of the septum and the inferior insertion.
    """

    centre_mm: Float64
    directions: Float64


@dataclass(frozen=True, slots=True)
class Insertion:
    """Angles of the RV insertions about the LV cavity in one slice, in rad.

    From the direction of increasing column index towards that of increasing row index, in the
    plane in mm. `inferior` is unwrapped: from `anterior` to it runs the septum.
    """

    anterior: float
    inferior: float


def septa(
    cavity: Mask, myocardium: Mask, rv: Mask, affine: Float64, *, apex_last: bool
) -> tuple[Septum | None, ...]:
    """Find the septum slice by slice from masks of both ventricles.

    Parameters
    ----------
    cavity, myocardium, rv : bool [z, y, x]
        LV cavity, LV myocardium and RV cavity.
    affine : float64 [4, 4]
    apex_last : bool
        Whether slices run from base to apex.

    Returns
    -------
    tuple [z] of Septum or None
        None where the RV does not lie on the LV wall.
    """
    apex = affine[:3, 2] * (1 if apex_last else -1)
    found: list[Septum | None] = []
    for z, inside in enumerate(cavity):
        arc = _septal_arc(inside, myocardium[z], rv[z], affine)
        found.append(None if arc is None else _oriented(arc, _centre(inside), z, affine, apex))
    return tuple(found)


def insertion_angles(
    found: Sequence[Septum | None], cavity: Mask, affine: Float64
) -> tuple[Insertion | None, ...]:
    """Angles of the insertions in the slices of a stack, its own or another of the same study.

    Only directions are carried over, so that a heart that lies elsewhere in another breath-hold
    keeps its insertions. A slice whose level shows no septum takes that of the nearest that does.

    Parameters
    ----------
    found : sequence of Septum or None
        Of any stack in the same frame of reference.
    cavity : bool [z, y, x]
        LV cavity of the slices to measure in.
    affine : float64 [4, 4]
        Of these slices.

    Returns
    -------
    tuple [z] of Insertion or None
        None in a slice without cavity, where no septum is known at all, or where it was seen in
        a plane inclined by more than 20 degrees.
    """
    known = [septum for septum in found if septum is not None]
    normal = _unit(np.cross(affine[:3, 0], affine[:3, 1]))
    angles: list[Insertion | None] = []
    for z, inside in enumerate(cavity):
        if not known or not inside.any():
            angles.append(None)
            continue
        centre = _to_mm(_centre(inside), z, affine)
        nearest = min(known, key=lambda septum: abs(float((septum.centre_mm - centre) @ normal)))
        angles.append(_in_plane(nearest.directions, affine, normal))
    return tuple(angles)


def lv_levels(cavity: Mask, myocardium: Mask, *, apex_last: bool) -> tuple[int, ...]:
    """Basal (1), middle (2) or apical (3) third of the cavity's length per slice; 0 outside."""
    shown = np.flatnonzero(cavity.any(axis=(1, 2)) & myocardium.any(axis=(1, 2)))
    levels = [0] * len(cavity)
    for z in shown:
        share = (z - shown[0] + 0.5) / (shown[-1] - shown[0] + 1)
        levels[z] = 1 + int(3 * (share if apex_last else 1 - share))
    return tuple(levels)


def aha_segments(
    cavity: Mask,
    myocardium: Mask,
    insertion: Sequence[Insertion | None],
    levels: Sequence[int],
    pixel_spacing_mm: tuple[float, float],
) -> Int8:
    """Number the myocardium by AHA segment.

    Parameters
    ----------
    cavity, myocardium : bool [z, y, x]
    insertion : sequence [z] of Insertion or None
    levels : sequence [z] of int
        Third of the LV, see `lv_levels`.
    pixel_spacing_mm : (row_mm, column_mm)

    Returns
    -------
    int8 [z, y, x]
        1 to 16; 0 outside the myocardium and where the insertions or the level are not known.
    """
    segments = np.zeros(myocardium.shape, dtype=np.int8)
    row_mm, column_mm = pixel_spacing_mm
    for z, (wall, place, level) in enumerate(zip(myocardium, insertion, levels, strict=True)):
        if place is None or not level or not cavity[z].any():
            continue
        rows, columns = np.nonzero(wall)
        row, column = _centre(cavity[z])
        angle = np.arctan2((rows - row) * row_mm, (columns - column) * column_mm)
        segments[z, rows, columns] = segment_numbers(angle, place, level)
    return segments


def transmurality(
    scar: Mask, myocardium: Mask, cavity: Mask, segments: Int8
) -> Mapping[int, float]:
    """Share of the wall's depth that is scar, along radial chords; the mean of each segment.

    Parameters
    ----------
    scar, myocardium, cavity : bool [z, y, x]
        Chords start at the centre of the cavity.
    segments : int8 [z, y, x]
        See `aha_segments`.

    Returns
    -------
    mapping of int to float
        Segment to share, 0 to 1; segments without any chord are absent.
    """
    chords = [
        chord
        for z in np.flatnonzero(segments.any(axis=(1, 2)) & cavity.any(axis=(1, 2)))
        for chord in _chords(scar[z], myocardium[z], cavity[z], segments[z])
    ]
    shares: dict[int, list[float]] = {}
    for segment, share in chords:
        shares.setdefault(segment, []).append(share)
    return {segment: float(np.mean(shares[segment])) for segment in sorted(shares)}


def _chords(
    scar: Mask, myocardium: Mask, cavity: Mask, segments: Int8
) -> Iterator[tuple[int, float]]:
    """Segment and scarred share of each chord through the wall of a slice [y, x]."""
    angles = np.arange(_CHORDS) * (2 * np.pi / _CHORDS)
    radii = np.arange(0, max(myocardium.shape), 0.25)
    row, column = _centre(cavity)
    rows = np.rint(row + np.outer(np.sin(angles), radii)).astype(int)
    columns = np.rint(column + np.outer(np.cos(angles), radii)).astype(int)
    inside = (rows >= 0) & (rows < scar.shape[0]) & (columns >= 0) & (columns < scar.shape[1])
    at = np.clip(rows, 0, scar.shape[0] - 1), np.clip(columns, 0, scar.shape[1] - 1)
    wall, scarred = myocardium[at] & inside, (scar & myocardium)[at] & inside
    numbers = segments[at]
    for chord in np.flatnonzero(wall.any(axis=1)):
        crossed = numbers[chord][wall[chord]]
        segment = int(crossed[len(crossed) // 2])
        if segment:
            yield segment, np.count_nonzero(scarred[chord]) / np.count_nonzero(wall[chord])


def segment_numbers(angle: Float64, place: Insertion, level: int) -> Int8:
    """Segment at each angle (rad) about the cavity in a slice of a third of the LV."""
    arc = place.inferior - place.anterior
    septum = abs(arc)
    turn = ((angle - place.anterior) * np.sign(arc)) % (2 * np.pi)
    if level == 3:
        quarter = ((turn - septum / 2 + np.pi / 4) % (2 * np.pi)) // (np.pi / 2)
        return np.asarray(np.array(_APICAL, dtype=np.int8)[quarter.astype(int) % 4])
    free = 2 + (turn - septum) / ((2 * np.pi - septum) / 4)
    part = np.where(turn < septum, turn / (septum / 2), free)
    numbers = np.array(_BASAL, dtype=np.int8)[np.clip(part.astype(int), 0, 5)]
    return np.asarray(numbers + 6 * (level - 1), dtype=np.int8)


def _septal_arc(
    cavity: Mask, myocardium: Mask, rv: Mask, affine: Float64
) -> tuple[float, float] | None:
    """First angle and width (rad) of the arc on which the RV lies on the wall of a slice."""
    if not (cavity.any() and myocardium.any() and rv.any()):
        return None
    size_mm = np.linalg.norm(affine[:3, [1, 0]], axis=0)  # of a pixel: (row, column)
    near = _distance_mm(myocardium, size_mm) <= max(_REACH_MM, 1.5 * float(size_mm.max()))
    touching = (np.argwhere(rv & near) - _centre(cavity)) * size_mm
    if len(touching) < 2:
        return None
    angles = np.sort(np.arctan2(touching[:, 0], touching[:, 1]))
    gaps = np.diff(angles, append=angles[0] + 2 * np.pi)
    widest = int(np.argmax(gaps))
    width = 2 * np.pi - float(gaps[widest])
    if not _ARC_DEG[0] <= np.degrees(width) <= _ARC_DEG[1]:
        return None
    return float(angles[(widest + 1) % len(angles)]), width


def _distance_mm(mask: Mask, size_mm: Float64) -> Float32:
    """Distance of each pixel outside a mask [y, x] to it; not positive inside."""
    image = sitk.GetImageFromArray(mask.astype(np.uint8))
    image.SetSpacing(size_mm[::-1].tolist())  # type: ignore[no-untyped-call]
    distance = sitk.SignedMaurerDistanceMap(  # type: ignore[no-untyped-call]
        image, squaredDistance=False, useImageSpacing=True
    )
    return np.asarray(sitk.GetArrayFromImage(distance), dtype=np.float32)


def _oriented(
    arc: tuple[float, float], centre: Float64, z: int, affine: Float64, apex: Float64
) -> Septum:
    """Order the ends of a septal arc: anterior, middle, inferior."""
    first, width = arc
    across, down = _unit(affine[:3, 0]), _unit(affine[:3, 1])
    angles = first + width * np.array([0, 0.5, 1])
    directions = np.outer(np.cos(angles), across) + np.outer(np.sin(angles), down)
    anterior = np.cross(directions[1], apex)
    if directions[0] @ anterior < directions[2] @ anterior:
        directions = directions[::-1]
    return Septum(_to_mm(centre, z, affine), directions)


def _in_plane(directions: Float64, affine: Float64, normal: Float64) -> Insertion | None:
    """Angles of the insertions in a plane; None when they were seen in quite another plane."""
    seen = _unit(np.cross(directions[0], directions[1] + directions[2]))
    if abs(float(seen @ normal)) < np.cos(np.radians(_TILT_DEG)):
        return None
    across, down = _unit(affine[:3, 0]), _unit(affine[:3, 1])
    angles = np.unwrap(np.arctan2(directions @ down, directions @ across))
    return Insertion(float(angles[0]), float(angles[2]))


def _centre(mask: Mask) -> Float64:
    """Mean row and column of a mask [y, x]."""
    return np.asarray(np.argwhere(mask).mean(axis=0), dtype=np.float64)


def _to_mm(centre: Float64, z: int, affine: Float64) -> Float64:
    """LPS position of a point given as row and column in slice z."""
    return np.asarray((affine @ [centre[1], centre[0], z, 1])[:3], dtype=np.float64)


def _unit(vector: Float64) -> Float64:
    return np.asarray(vector / np.linalg.norm(vector), dtype=np.float64)
