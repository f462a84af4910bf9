"""Parallel planes: which way they face, where they lie, how far apart. Arrays in LPS mm."""

import math
from functools import lru_cache

import numpy as np

from pipeline.case import Float64

# Scanners state cosines to six digits; gradients and rounding stay far below a degree.
ORIENTATION_TOLERANCE_DEG = 1.0
# Positions nearer than this share of the slice spacing are one slice.
SAME_POSITION_SHARE = 0.1
# No cine has slices nearer than this; below it positions differ by rounding.
SAME_POSITION_MM = 0.5
# Images of one slice lie on each other; more than rounding apart within the plane is a fault.
SAME_PLACE_MM = 1.0
# A gap is one, or a whole number of, spacings within this share of a spacing.
SPACING_TOLERANCE_SHARE = 0.1


@lru_cache(maxsize=1024)
def unit_axes(orientation: tuple[float, ...] | None) -> Float64 | None:
    """Unit row and column cosines [2, 3] of an ImageOrientationPatient; None when it is no plane.

    Rows and columns are perpendicular (PS3.3 C.7.6.2.1.1); a deviation within the orientation
    tolerance passes. The images of a stack state the same few planes, which are kept.
    """
    axes = np.asarray(orientation if orientation is not None else [0.0] * 6).reshape(2, 3)
    lengths = np.linalg.norm(axes, axis=1)
    if np.any(np.abs(lengths - 1) > 0.01):
        return None
    axes = axes / lengths[:, None]
    axes.setflags(write=False)
    skew = np.sin(np.radians(ORIENTATION_TOLERANCE_DEG))
    return None if abs(axes[0] @ axes[1]) > skew else axes


def deviation_deg(axes: Float64, reference: Float64) -> Float64:
    """Largest angle of the row and the column axis to those of a reference plane.

    Parameters
    ----------
    axes : float64 [n, 2, 3]
        Unit row and column cosines.
    reference : float64 [2, 3]
        Of one plane.

    Returns
    -------
    float64 [n]
    """
    cosines = np.clip(np.einsum("nij,ij->ni", axes, reference), -1, 1)
    return np.asarray(np.degrees(np.arccos(cosines)).max(axis=1), dtype=np.float64)


def common_axes(axes: Float64) -> Float64:
    """Row and column axis most planes agree on: the plane that most others are parallel to.

    Parameters
    ----------
    axes : float64 [n, 2, 3]

    Returns
    -------
    float64 [2, 3]
        Mean of the planes within tolerance of that one, orthonormal.
    """
    distinct = np.unique(np.round(axes, 6), axis=0)
    parallel = [deviation_deg(axes, plane) <= ORIENTATION_TOLERANCE_DEG for plane in distinct]
    members = axes[max(parallel, key=np.count_nonzero)]
    row = members[:, 0].mean(axis=0)
    row /= np.linalg.norm(row)
    column = members[:, 1].mean(axis=0)
    column -= (column @ row) * row
    return np.stack([row, column / np.linalg.norm(column)])


def normal_of(axes: Float64) -> Float64:
    """Unit normal [3] of a plane [2, 3]: row cosines x column cosines."""
    return np.asarray(np.cross(axes[0], axes[1]), dtype=np.float64)


def slice_numbers(distances_mm: Float64) -> list[int]:
    """Which slice each distance along the normal belongs to, from 0 in rising order.

    Parameters
    ----------
    distances_mm : float64 [n]
        Positions of images projected on the normal.
    """
    order = np.argsort(distances_mm, kind="stable")
    gaps = np.diff(distances_mm[order])
    apart = gaps[gaps > SAME_POSITION_MM]
    threshold = SAME_POSITION_MM
    if apart.size:
        threshold = max(threshold, SAME_POSITION_SHARE * float(np.median(apart)))
    ranks = np.concatenate([[0], np.cumsum(gaps > threshold)])
    numbers = np.empty(len(order), dtype=int)
    numbers[order] = ranks
    return [int(number) for number in numbers]


def nominal_spacing_mm(distances_mm: Float64) -> float:
    """Median distance between neighbouring slices [z]; the lower of two middle ones; 0 for one."""
    gaps = np.sort(np.diff(distances_mm))
    return float(gaps[(len(gaps) - 1) // 2]) if gaps.size else 0.0


def slice_extent_mm(distances_mm: Float64) -> Float64:
    """Length along the normal that each slice [z] stands for.

    Half the distance to either neighbour, and half the nominal spacing beyond the ends, so that
    the extents sum to the covered length.
    """
    beyond = nominal_spacing_mm(distances_mm)
    gaps = np.concatenate([[beyond], np.diff(distances_mm), [beyond]])
    return np.asarray((gaps[:-1] + gaps[1:]) / 2, dtype=np.float64)


def spacing_faults(distances_mm: Float64) -> tuple[int, tuple[str, ...]]:
    """Slices that are evidently missing between slices [z], and every uneven gap in words.

    In a gap as many slices are missing as would fit with the nominal spacing.
    """
    nominal = nominal_spacing_mm(distances_mm)
    missing, words = 0, []
    for below, gap in enumerate(np.diff(distances_mm), start=1):
        multiple = float(gap) / nominal
        absent = max(math.floor(multiple + SPACING_TOLERANCE_SHARE) - 1, 0)
        missing += absent
        where = f"slices {below} and {below + 1}"
        if absent:
            words.append(f"between {where}: {absent} slice{'s' if absent > 1 else ''} missing")
        if abs(multiple - round(multiple)) > SPACING_TOLERANCE_SHARE:
            words.append(f"{where} are {gap:.1f} mm apart, not {nominal:.1f} mm")
    return missing, tuple(words)
