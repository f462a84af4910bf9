"""Thickness of the LV wall in a short-axis slice, by the centreline method.

Chords stand perpendicular on the line midway between the inner and the outer outline, and their
length between the outlines is the thickness (Sheehan FH et al., Circulation 1986;74:293). A radial
chord would be too long wherever the wall does not face the centre. Masks are [y, x]; angles run
from the direction of increasing column index towards that of increasing row index, in mm.
"""

from dataclasses import dataclass

import numpy as np

from pipeline.case import Float64, Mask

_CHORDS = 120
_STEP = 0.2  # of a pixel, along a ray
_TANGENT = 2  # chords to either side that give the direction of the centreline
_OPEN_NEIGHBOURS = 2  # chords beside a gap, where smoothing thins the end of the wall


@dataclass(frozen=True, slots=True)
class Chords:
    """Chords across the wall of a slice.

    Attributes
    ----------
    angle : float64 [n]
        Of the middle of each chord about the centre of the cavity, rad.
    thickness_mm : float64 [n]
    closed : bool [n]
        Whether there is a wall; it is open at an outflow tract.
    """

    angle: Float64
    thickness_mm: Float64
    closed: Mask


def wall_chords(
    cavity: Mask, myocardium: Mask, pixel_spacing_mm: tuple[float, float]
) -> Chords | None:
    """Measure the wall all around the cavity.

    Outlines lie where slightly smoothed masks fall below one half, between the pixels.

    Parameters
    ----------
    cavity, myocardium : bool [y, x]
    pixel_spacing_mm : (row_mm, column_mm)

    Returns
    -------
    Chords, or None
        None where the cavity is too small to have an outline.
    """
    if not (cavity.any() and myocardium.any()):
        return None
    rows, columns = (np.flatnonzero((cavity | myocardium).any(axis=axis)) for axis in (1, 0))
    around = slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)
    cavity, myocardium = cavity[around], myocardium[around]
    centre = np.argwhere(cavity).mean(axis=0)
    angles = np.linspace(0, 2 * np.pi, _CHORDS, endpoint=False, dtype=np.float64)
    inner, outer = (
        _radii(_smoothed(mask), centre, angles, pixel_spacing_mm)
        for mask in (cavity, cavity | myocardium)
    )
    if np.isnan(inner).any() or np.isnan(outer).any():
        return None
    inner, outer = (_points(np.asarray(radii), angles) for radii in (inner, outer))
    middle = (inner + outer) / 2
    ahead, behind = (np.roll(middle, step, axis=0) for step in (-_TANGENT, _TANGENT))
    normal = (ahead - behind)[:, ::-1] * (1, -1)
    normal /= np.linalg.norm(normal, axis=1, keepdims=True)
    thickness = _reach(middle, normal, outer) + _reach(middle, -normal, inner)
    # A direction that meets no outline, as across a kink, has no thickness either.
    is_open = (thickness < min(pixel_spacing_mm) / 2) | ~np.isfinite(thickness)
    for step in range(1, _OPEN_NEIGHBOURS + 1):
        is_open = is_open | np.roll(is_open, step) | np.roll(is_open, -step)
    return Chords(np.arctan2(middle[:, 1], middle[:, 0]), thickness, ~is_open)


def _smoothed(mask: Mask) -> Float64:
    """Mask [y, x] after two passes of 1 2 1 over rows and columns, with a margin of four pixels."""
    field = np.pad(mask, 4).astype(np.float64)
    for axis in (0, 1, 0, 1):
        field = (np.roll(field, 1, axis) + 2 * field + np.roll(field, -1, axis)) / 4
    return field


def _radii(
    field: Float64, centre: Float64, angles: Float64, spacing_mm: tuple[float, float]
) -> Float64:
    """Distance in mm [n] from the centre to where a field first falls below one half; or NaN."""
    step_mm = _STEP * min(spacing_mm)
    diagonal_mm = float(np.hypot(field.shape[0] * spacing_mm[0], field.shape[1] * spacing_mm[1]))
    radii = np.arange(0, diagonal_mm, step_mm)
    rows = centre[0] + 4 + np.outer(np.sin(angles), radii) / spacing_mm[0]
    columns = centre[1] + 4 + np.outer(np.cos(angles), radii) / spacing_mm[1]
    values = _between(field, rows, columns)
    below = values < 0.5
    first = np.argmax(below, axis=1)
    if np.any(first == 0):
        return np.full(len(angles), np.nan)
    each = np.arange(len(angles))
    high, low = values[each, first - 1], values[each, first]
    return np.asarray((first - 1 + (high - 0.5) / (high - low)) * step_mm)


def _between(field: Float64, rows: Float64, columns: Float64) -> Float64:
    """Bilinear interpolation of a field; 0 outside."""
    inside = (rows >= 0) & (rows < field.shape[0] - 1) & (columns >= 0)
    inside &= columns < field.shape[1] - 1
    row, column = (np.where(inside, place, 0) for place in (rows, columns))
    top, left = row.astype(int), column.astype(int)
    down, right = row - top, column - left
    upper = field[top, left] * (1 - right) + field[top, left + 1] * right
    lower = field[top + 1, left] * (1 - right) + field[top + 1, left + 1] * right
    return np.where(inside, upper * (1 - down) + lower * down, 0.0)


def _points(radii: Float64, angles: Float64) -> Float64:
    """Points (x, y) in mm about the centre; [n, 2]."""
    return np.stack([radii * np.cos(angles), radii * np.sin(angles)], axis=1)


def _reach(start: Float64, direction: Float64, outline: Float64) -> Float64:
    """Distance [n] from each start along its direction to a closed outline; 0 where it is there."""
    edge = np.roll(outline, -1, axis=0) - outline
    offset = outline[None] - start[:, None]
    cross = direction[:, None, 0] * edge[None, :, 1] - direction[:, None, 1] * edge[None, :, 0]
    with np.errstate(divide="ignore", invalid="ignore"):
        along = (offset[..., 0] * edge[:, 1] - offset[..., 1] * edge[:, 0]) / cross
        share = (
            offset[..., 0] * direction[:, None, 1] - offset[..., 1] * direction[:, None, 0]
        ) / cross
    hit = (share >= -1e-9) & (share <= 1 + 1e-9) & (along >= -1e-9)
    return np.asarray(np.min(np.where(hit, along, np.inf), axis=1))
