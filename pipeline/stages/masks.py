"""Geometry of label maps: what a ventricle can look like, and how far a mask is from it."""

import numpy as np
import numpy.typing as npt
import SimpleITK as sitk  # noqa: N813 - its own usual name

from pipeline.case import LV_CAVITY, LV_MYOCARDIUM, RV_CAVITY, UInt8

Mask = npt.NDArray[np.bool_]

# Pieces of the RV as near to each other as twice this, in a slice or over a slice gap, are one
# body; and the RV is not farther than this from the LV.
RV_REACH_MM = 5.0


def clean_labels(labels: UInt8, pixel_spacing_mm: tuple[float, float]) -> UInt8:
    """Keep one plausible pair of ventricles in every phase.

    The LV (cavity and myocardium together) is its largest connected body, in each slice the
    largest piece of that; holes in the cavity are cavity (papillary muscles count to it), other
    holes are myocardium. The RV is the largest body near the LV; its pieces need not quite touch,
    for thick slices cut a thin crescent apart.

    Parameters
    ----------
    labels : uint8 [t, z, y, x]
        Label maps, codes as in `pipeline.case`.
    pixel_spacing_mm : (row_mm, column_mm)
        Distance between rows and between columns.

    Returns
    -------
    uint8 [t, z, y, x]
    """
    cleaned = np.zeros_like(labels)
    window = _heart_window(labels > 0)
    if window is None:
        return cleaned
    part = labels[window]
    left = largest_bodies((part == LV_CAVITY) | (part == LV_MYOCARDIUM))
    left = largest_bodies(left.reshape(-1, 1, *left.shape[2:])).reshape(left.shape)
    cavity = without_holes(left & (part == LV_CAVITY))
    left = without_holes(left)
    right = (part == RV_CAVITY) & ~left
    right &= largest_bodies(_grown(right, pixel_spacing_mm), touching=left)
    out = cleaned[window]
    out[right] = RV_CAVITY
    out[left] = LV_MYOCARDIUM
    out[cavity] = LV_CAVITY
    return cleaned


def largest_bodies(mask: Mask, touching: Mask | None = None) -> Mask:
    """Keep the largest face-connected body of each volume.

    Parameters
    ----------
    mask : bool [n, z, y, x]
        Volumes; bodies of different volumes never join.
    touching : bool [n, z, y, x], optional
        Only bodies that overlap this count.

    Returns
    -------
    bool [n, z, y, x]
    """
    bodies = numbered_bodies(mask)
    kept = np.zeros_like(mask)
    for volume, numbered in enumerate(bodies):
        sizes = np.bincount(numbered[mask[volume]], minlength=1)
        if touching is not None:
            sizes[np.bincount(numbered[touching[volume]], minlength=len(sizes)) == 0] = 0
        if sizes.any():
            kept[volume] = numbered == np.argmax(sizes)
    return kept


def numbered_bodies(mask: Mask) -> npt.NDArray[np.intp]:
    """Number the face-connected bodies of volumes [n, z, y, x] from 1; background is 0.

    All volumes pass through one call, an empty slice between them: each call of the toolkit has
    to wait for its threads, which on a busy machine takes longer than the work.
    """
    apart = np.pad(mask, ((0, 0), (0, 1), (0, 0), (0, 0)))
    image = sitk.GetImageFromArray(apart.reshape(-1, *mask.shape[2:]).astype(np.uint8))
    numbered = sitk.GetArrayFromImage(sitk.ConnectedComponent(image))  # type: ignore[no-untyped-call]
    return np.asarray(numbered, dtype=np.intp).reshape(apart.shape)[:, :-1]


def without_holes(mask: Mask) -> Mask:
    """Fill the holes in every slice of [n, z, y, x]: background that the border does not reach."""
    slices = np.pad(mask.reshape(-1, 1, *mask.shape[2:]), ((0, 0), (0, 0), (1, 1), (1, 1)))
    outside = numbered_bodies(~slices)
    reached = outside == outside[:, :, :1, :1]
    return np.asarray(~reached[:, :, 1:-1, 1:-1].reshape(mask.shape), dtype=np.bool_)


def _grown(mask: Mask, pixel_spacing_mm: tuple[float, float]) -> Mask:
    """Grow a mask [n, z, y, x] within its slices by `RV_REACH_MM`."""
    row_mm, column_mm = pixel_spacing_mm
    radius = [max(1, round(RV_REACH_MM / column_mm)), max(1, round(RV_REACH_MM / row_mm)), 0]
    image = sitk.GetImageFromArray(mask.reshape(-1, *mask.shape[2:]).astype(np.uint8))
    grown = sitk.GetArrayFromImage(sitk.BinaryDilate(image, radius))  # type: ignore[no-untyped-call]
    return np.asarray(grown, dtype=np.bool_).reshape(mask.shape)


def _heart_window(mask: Mask) -> tuple[slice, slice, slice, slice] | None:
    """Find the in-plane box around a mask [t, z, y, x]; None when it is empty."""
    if not mask.any():
        return None
    rows, columns = (np.flatnonzero(mask.any(axis=axes)) for axes in ((0, 1, 3), (0, 1, 2)))
    height, width = (slice(found[0], found[-1] + 1) for found in (rows, columns))
    return slice(None), slice(None), height, width


def elongation(mask: Mask, pixel_spacing_mm: tuple[float, float]) -> float:
    """Ratio of the long to the short axis of a mask [y, x], from its second moments; 1 is round.

    A mask without any extent across its long axis has an infinite ratio.
    """
    points = np.argwhere(mask) * np.asarray(pixel_spacing_mm)
    short, long = np.linalg.eigvalsh(np.cov(points, rowvar=False, ddof=0))
    return float(np.sqrt(long / short)) if short > 1e-9 else float("inf")


def open_ring_share(labels: UInt8) -> float:
    """Share of the cavity's outline that no myocardium borders, in one slice [y, x]; 0 without one.

    The outline is the set of pixel edges between the LV cavity and anything else.
    """
    padded = np.pad(labels, 1)
    cavity = padded == LV_CAVITY
    neighbours = [np.roll(padded, step, axis)[cavity] for axis in (0, 1) for step in (1, -1)]
    outside = np.concatenate(neighbours)
    outside = outside[outside != LV_CAVITY]
    return float(np.mean(outside != LV_MYOCARDIUM)) if outside.size else 0.0
