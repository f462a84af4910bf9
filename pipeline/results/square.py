"""Square pixels to draw outlines on: on others viewers may misplace them (decision 11)."""

from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.case import Case, CineCase

_AS_GOOD_AS_SQUARE = 1e-3
# Of bits that do not fill bytes image by image, some archives give no single image of a SEG.
_MULTIPLE = 8


def on_square_pixels(case: Case) -> Case:
    """Give images and label maps of a case square pixels, as long as the shorter side.

    The first pixel stays where it is, so that the position of an image does; the last ones may be
    repeated. Images are interpolated linearly, labels are those of the nearest pixel. A case whose
    pixels are square is returned as it is.
    """
    spacing = case.stack.pixel_spacing_mm
    side = min(spacing)
    if max(spacing) < side * (1 + _AS_GOOD_AS_SQUARE):
        return case
    steps = (side / spacing[0], side / spacing[1])
    frames = _resampled(case.stack.frames, steps).astype(np.float32)
    changes: dict[str, Any] = {
        "stack": replace(case.stack, frames=frames, pixel_spacing_mm=(side, side))
    }
    if case.segmentation is not None:
        labels = _resampled(case.segmentation.labels, steps)
        changes["segmentation"] = replace(case.segmentation, labels=labels)
    if isinstance(case, CineCase) and case.regression is not None:
        seen = case.regression
        changes["regression"] = replace(
            seen,
            explanation_ed=_resampled(seen.explanation_ed, steps),
            explanation_es=_resampled(seen.explanation_es, steps),
        )
    return replace(case, **changes)


def _resampled(values: npt.NDArray[Any], steps: tuple[float, float]) -> npt.NDArray[Any]:
    """Values [..., y, x] at steps of so many pixels; labels and masks stay what they are."""
    for axis, step in zip((-2, -1), steps, strict=True):
        if step < 1:
            values = _along(values, axis, step)
    return values


def _along(values: npt.NDArray[Any], axis: int, step: float) -> npt.NDArray[Any]:
    last = values.shape[axis] - 1
    length = -(-int(last / step + 1 + 1e-6) // _MULTIPLE) * _MULTIPLE
    at = np.minimum(np.arange(length) * step, last)
    if values.dtype.kind != "f":
        return np.asarray(np.take(values, np.rint(at).astype(int), axis))
    before = np.minimum(at.astype(int), last - 1)
    share = (at - before).reshape([-1, 1] if axis == -2 else [-1])
    low, high = (np.take(values, index, axis) for index in (before, before + 1))
    return np.asarray(low * (1 - share) + high * share)
