"""Whether a picture looks like the sheet of an ECG: paper, millimetre grid, traces.

A classifier puts anything into one of its classes. So a picture that is no sheet is refused by what
every sheet has, before the network sees it:

1. it lies across, about as wide as A4 or a strip of paper;
2. it is light, and a little of it is ink;
3. the paper has a grid: away from the ink the brightness repeats itself along rows and along
   columns, with a period that is 5 mm, or a multiple of it, where the sheet shows about 10 s;
4. the ink draws traces: long connected lines that go up and down, one beside and below the other,
   together longer than the sheet is wide: more than one strip. Letters do not connect, and rules
   are straight.

A sheet that the node drew itself from a waveform needs none of this.
"""

from dataclasses import dataclass, replace

import numpy as np
import SimpleITK as sitk  # noqa: N813 - its own usual name

from pipeline.case import Float32, Float64, Mask, ModelUse, QualityFinding, UInt8, Verdict
from pipeline.errors import Rejection
from pipeline.picture_case import PictureCase

NOT_A_SHEET = "not_an_ecg_sheet"
"""The code of a rejection."""

_WIDTH = 900  # pixels that larger pictures are brought down to
_TILES = (6, 8)
_CONNECTED = 0.9  # share of the columns of a trace that hold ink of it; letters have gaps


@dataclass(frozen=True, slots=True)
class SheetFeatures:
    """What is looked at.

    Attributes
    ----------
    aspect : float
        Width over height.
    paper : float
        Brightness of the paper, 0 to 255: median over tiles of the upper quartile.
    ink : float
        Share of the pixels that are much darker than the paper about them.
    grid : float
        How well the paper repeats itself, 0 to 1: median over tiles, of the weaker direction.
    grid_per_width : float
        Periods in the width of the picture.
    traces : float
        Summed width of the lines that go up and down, in widths of the picture.
    """

    aspect: float
    paper: float
    ink: float
    grid: float
    grid_per_width: float
    traces: float


class CheckEcgSheet:
    """Refuse a picture that is no sheet of an ECG."""

    name = "plausibility"
    models: tuple[ModelUse, ...] = ()

    def __call__(self, case: PictureCase) -> PictureCase:
        """Return the case with what was seen.

        Raises
        ------
        Rejection
            ``not_an_ecg_sheet``.
        """
        if case.drawn:
            return case
        why_not = why_no_sheet(sheet_features(case.picture))
        if why_not is not None:
            raise Rejection(NOT_A_SHEET, f"it does not look like an ECG sheet: {why_not}")
        seen = QualityFinding("ecg_sheet", Verdict.OK, "paper, grid and traces of an ECG sheet")
        return replace(case, quality=(*case.quality, seen))


def why_no_sheet(found: SheetFeatures) -> str | None:
    """Say what keeps a picture from being a sheet; None when nothing does."""
    doubts = {
        f"it is {found.aspect:.2f} times as wide as high": 1.1 <= found.aspect <= 2.2,
        "it is dark, not paper": found.paper >= 110,
        f"{found.ink:.1%} of it is ink": 0.002 <= found.ink <= 0.2,
        "it has no millimetre grid": found.grid >= 0.35,
        f"its grid has {found.grid_per_width:.0f} squares across, not those of a sheet": (
            15 <= found.grid_per_width <= 110
        ),
        "no traces run across it": found.traces >= 1.1,
    }
    return next((doubt for doubt, passed in doubts.items() if not passed), None)


def sheet_features(picture: UInt8) -> SheetFeatures:
    """Look at a picture [y, x, 3]."""
    light = _small(picture)
    paper = _paper(light)
    shade = light / paper
    ink = shade < _ink_level(shade)
    grids = [_grid(tile) for tile in _tiles(np.where(_grown(ink), 1, shade))]
    strength, along, _ = np.median(np.array(grids), axis=0)
    return SheetFeatures(
        aspect=picture.shape[1] / picture.shape[0],
        paper=float(np.median(paper)),
        ink=float(ink.mean()),
        grid=float(strength),
        grid_per_width=float(light.shape[1] / max(along, 1e-6)),
        traces=_traces(ink) / light.shape[1],
    )


def _small(picture: UInt8) -> Float32:
    """Brightness [y, x], of large pictures averaged over blocks."""
    light = picture.astype(np.float32).mean(axis=-1)
    step = max(1, round(picture.shape[1] / _WIDTH))
    rows, columns = (size // step * step for size in light.shape)
    blocks = light[:rows, :columns].reshape(rows // step, step, columns // step, step)
    return np.asarray(blocks.mean(axis=(1, 3)), dtype=np.float32)


def _paper(light: Float32) -> Float32:
    """Brightness of the paper about each pixel [y, x]: the upper quartile of its tile."""
    paper = np.empty_like(light)
    for rows in np.array_split(np.arange(light.shape[0]), _TILES[0]):
        for columns in np.array_split(np.arange(light.shape[1]), _TILES[1]):
            window = slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)
            paper[window] = max(float(np.percentile(light[window], 75)), 1.0)
    return paper


def _ink_level(shade: Float32) -> float:
    """Half way between the darkest, which is ink, and what the lines of a grid reach."""
    darkest, lines = np.percentile(shade, (0.3, 12))
    return float(darkest + lines) / 2


def _tiles(values: Float32) -> list[Float32]:
    return [
        tile
        for rows in np.array_split(values, _TILES[0], axis=0)
        for tile in np.array_split(rows, _TILES[1], axis=1)
    ]


def _grown(ink: Mask) -> Mask:
    grown = ink.copy()
    for axis in (0, 1):
        for step in (1, -1):
            grown |= np.roll(ink, step, axis)
    return grown


def _grid(tile: Float32) -> tuple[float, float, float]:
    """Strength of the grid, and its period along rows and along columns, in pixels."""
    found = [_period(tile.mean(axis=axis).astype(np.float64)) for axis in (0, 1)]
    return min(found[0][0], found[1][0]), found[0][1], found[1][1]


def _period(profile: Float64) -> tuple[float, float]:
    """Correlation of a profile with itself a period away, and that period."""
    size = len(profile)
    flat = profile - np.convolve(np.pad(profile, 15, mode="edge"), np.ones(31) / 31, "valid")
    power = float(flat @ flat)
    if power <= 1e-9 or size < 30:
        return 0.0, 0.0
    lags = np.arange(5, min(40, size // 2))
    values = np.array([flat[:-lag] @ flat[lag:] * size / (size - lag) for lag in lags]) / power
    peaks = np.flatnonzero((values[1:-1] >= values[:-2]) & (values[1:-1] >= values[2:])) + 1
    best = float(values[peaks].max(initial=0.0))
    if best <= 0:
        return 0.0, 0.0
    first = peaks[values[peaks] >= 0.75 * best][0]  # later ones are multiples of it
    return best, float(lags[first])


def _traces(ink: Mask) -> float:
    """Summed width in pixels of connected lines that are long, thin, and not straight."""
    grown = sitk.GetImageFromArray(_grown(ink).astype(np.uint8))
    labels = np.where(ink, sitk.GetArrayFromImage(sitk.ConnectedComponent(grown, True)), 0)  # type: ignore[no-untyped-call]
    rows, columns = np.nonzero(labels)
    of = labels[rows, columns]
    number = int(labels.max()) + 1
    area = np.bincount(of, minlength=number)
    low, high = np.full((2, number), 10**6), np.full((2, number), -1)
    for axis, places in enumerate((rows, columns)):
        np.minimum.at(low[axis], of, places)
        np.maximum.at(high[axis], of, places)
    height, width = high - low + 1
    inked = np.bincount(np.unique(of * ink.shape[1] + columns) // ink.shape[1], minlength=number)
    lines = (
        (width > 0.08 * ink.shape[1])
        & (height > 0.012 * ink.shape[0])
        & (area < 0.35 * height * width)
    )
    lines &= (height < 0.5 * ink.shape[0]) & (inked >= _CONNECTED * width)
    return float(width[lines].sum())
