"""Whether a capture looks like the display of a perfusion study: rows of rings of one size.

Tomograms need none of this: in each of them a left ventricle was found (`pipeline.spect_input`),
or it was refused. Of a capture nothing is known but what it shows. A display of short-axis slices
shows the ventricle as bright rings or horseshoes with a dark middle on a dark ground, four or more
of about the same size, in rows, and no finer detail than a gamma camera resolves.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import SimpleITK as sitk  # noqa: N813 - its own usual name

from pipeline.case import Float32, ModelUse, QualityFinding, UInt8, Verdict
from pipeline.errors import Rejection
from pipeline.picture_case import SpectCase

_SIDE = 448  # pixels that the longer side of a capture is brought to
_LEVELS = (0.35, 0.45, 0.55, 0.65)  # of the brightest, at which rings are looked for
_FEWEST_RINGS = 4
_MOST_BRIGHT = 0.7
_MOST_DETAIL = 0.13
_SMALLEST = 50  # pixels of what can be a ring
_SIZES = (0.05, 0.4)  # of a ring, share of the longer side


@dataclass(frozen=True, slots=True)
class Ring:
    """A bright part with a dark middle: its centre and its size, in pixels."""

    y: float
    x: float
    size: float


class CheckPerfusionCapture:
    """Refuse a capture that is no display of a perfusion study."""

    name = "plausibility"
    models: tuple[ModelUse, ...] = ()

    def __call__(self, case: SpectCase) -> SpectCase:
        """Return the case with what was seen.

        Raises
        ------
        Rejection
            ``not_a_perfusion_display``.
        """
        if case.drawn:
            return case
        why_not = why_no_display(case.picture)
        if why_not is not None:
            raise Rejection(
                "not_a_perfusion_display", f"it does not look like a perfusion display: {why_not}"
            )
        seen = QualityFinding("perfusion_display", Verdict.OK, "rows of rings on a dark ground")
        return replace(case, quality=(*case.quality, seen))


def why_no_display(picture: UInt8) -> str | None:
    """Say what keeps a picture [y, x, 3] from being a display; None when nothing does."""
    bright = _brightness(picture)
    share = float((bright > 0.5).mean())
    if share > _MOST_BRIGHT:
        return f"{share:.0%} of it is bright"
    rings = max((alike(list(rings_at(bright, level))) for level in _LEVELS), key=len)
    if len(rings) < _FEWEST_RINGS:
        return f"{len(rings)} rings of one size, a display has {_FEWEST_RINGS} or more"
    detail = float(np.median([_detail(bright, ring) for ring in rings]))
    if detail > _MOST_DETAIL:
        return f"its rings hold finer detail ({detail:.2f}) than a gamma camera resolves"
    return None


def _detail(bright: Float32, ring: Ring) -> float:
    """Share of the variation in a ring that a blur of a twelfth of its size takes away."""
    reach, width = ring.size / 2, max(3, round(ring.size / 12))
    part = bright[_around(ring.y, reach), _around(ring.x, reach)].astype(np.float64)
    blurred = part
    for axis in (0, 1):
        kernel = np.ones(width) / width
        blurred = np.apply_along_axis(np.convolve, axis, blurred, kernel, "valid")
    inner = part[width // 2 :, width // 2 :][: blurred.shape[0], : blurred.shape[1]]
    return float((inner - blurred).std() / max(inner.std(), 1e-6))


def alike(rings: list[Ring]) -> list[Ring]:
    """The most rings that are of one size and stand in rows of two or more."""
    groups = [[other for other in rings if 0.7 < other.size / ring.size < 1.43] for ring in rings]
    rows = [
        [
            ring
            for ring in group
            if sum(abs(ring.y - other.y) < 0.35 * ring.size for other in group) > 1
        ]
        for group in groups
    ]
    return max(rows, key=len, default=[])


def rings_at(bright: Float32, level: float) -> Iterator[Ring]:
    """Connected parts [y, x] above a level whose middle is darker than they are."""
    joined = sitk.ConnectedComponent(sitk.GetImageFromArray((bright > level).astype(np.uint8)))  # type: ignore[no-untyped-call]
    labels = sitk.GetArrayFromImage(joined)
    longest = max(bright.shape)
    for label in np.flatnonzero(np.bincount(labels.ravel())[1:] >= _SMALLEST) + 1:
        rows, columns = np.nonzero(labels == label)
        height, width = np.ptp(rows) + 1, np.ptp(columns) + 1
        size = max(height, width)
        if (
            not _SIZES[0] * longest <= size <= _SIZES[1] * longest
            or min(height, width) < 0.5 * size
        ):
            continue
        y, x = (rows.min() + rows.max()) / 2, (columns.min() + columns.max()) / 2
        reach = 0.12 * size
        middle = bright[_around(y, reach), _around(x, reach)]
        if middle.mean() < 0.7 * bright[rows, columns].mean():
            yield Ring(float(y), float(x), float(size))


def _around(centre: float, reach: float) -> slice:
    return slice(max(0, round(centre - reach)), round(centre + reach) + 1)


def _brightness(picture: UInt8) -> Float32:
    """Brightness [y, x], 0 to 1 of the brightest, at the size that is looked at, a little blurred.

    Colour scales differ; in all of them black is little, and the sum of the colours grows.
    """
    grey = picture.astype(np.float32).sum(axis=-1)
    image = sitk.GetImageFromArray(grey)
    scale = max(grey.shape) / _SIDE
    size = [max(8, round(side / scale)) for side in reversed(grey.shape)]
    grid = sitk.Resample(
        sitk.SmoothingRecursiveGaussian(image, max(0.5, scale)),  # type: ignore[no-untyped-call]
        size,
        sitk.Transform(),  # type: ignore[no-untyped-call]
        sitk.sitkLinear,
        (0.0, 0.0),
        (scale, scale),
    )
    values = sitk.GetArrayFromImage(grid)
    return np.asarray(values / max(float(np.percentile(values, 99.5)), 1.0), dtype=np.float32)
