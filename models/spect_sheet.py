"""The picture of a perfusion study that its classifier sees: of training and of service alike.

From two tomograms a sheet is laid out as review stations show a study: short-axis slices from the
apex (left) to the base, stress above rest, the anterior wall above and the septum on the left;
below them the polar maps, stress left. Either view has its own scale, from 0 to the uptake that
98 % of its wall stays below, so that a bright organ beside the wall dims nothing. A capture of
somebody else's display is taken as it is, but for what may name the patient, see
`without_small_marks`.

Shapes::

    sheet    uint8 [224, 224, 3]
    capture  uint8 [y, x, 3]
"""

import numpy as np
import numpy.typing as npt
import SimpleITK as sitk  # noqa: N813 - its own usual name

from models.spect_axis import LeftVentricle
from models.tomogram import Float32, Float64, Tomogram

UInt8 = npt.NDArray[np.uint8]

SIDE = 224
LEVELS = (0.82, 0.62, 0.4, 0.18)
"""Places of the slices between base (0) and apex (1)."""
_TILE, _TILE_MM = SIDE // 4, 112.0
_POLAR = SIDE // 2
_BRIGHTEST = 98.0  # percentile of the wall that is shown brightest
_DEPTHS_MM = np.arange(-9.0, 10.0, 3.0)  # about the middle of the wall, where its maximum is sought
_SMALL_SHARE = 0.06
_DARK = 48  # a capture's pixel that differs from the background by less is background


def sheet(stress: tuple[Tomogram, LeftVentricle], rest: tuple[Tomogram, LeftVentricle]) -> UInt8:
    """Lay out both views of a study, each with the left ventricle found in it."""
    views = [(_scaled(*view), view) for view in (stress, rest)]
    rows = [np.hstack([short_axis(*view, level) / top for level in LEVELS]) for top, view in views]
    maps = [np.where(_is_map(), polar_map(*view) / top, 0) for top, view in views]
    return coloured(np.vstack([*rows, np.hstack(maps)]))


def short_axis(tomogram: Tomogram, lv: LeftVentricle, level: float) -> Float32:
    """Counts [y, x] of a short-axis slice about the axis, seen from the apex."""
    steps = (np.arange(_TILE) - (_TILE - 1) / 2) * (_TILE_MM / _TILE)
    across, up = np.meshgrid(steps, -steps)
    middle = lv.base_mm + level * lv.length_mm * lv.axis
    return tomogram.at(middle + across[..., None] * lv.right + up[..., None] * lv.up)


def polar_map(tomogram: Tomogram, lv: LeftVentricle) -> Float32:
    """Largest counts through the wall [y, x]: apex in the middle, base at the rim."""
    steps = (np.arange(_POLAR) - (_POLAR - 1) / 2) / (_POLAR / 2)
    across, up = np.meshgrid(steps, -steps)
    return through_wall(tomogram, lv, np.arctan2(up, across), np.minimum(np.hypot(across, up), 1))


def through_wall(tomogram: Tomogram, lv: LeftVentricle, angle: Float64, polar: Float64) -> Float32:
    """Largest counts through the wall at places of it; see `LeftVentricle.wall`."""
    depths = [tomogram.at(lv.wall(angle, polar, float(depth))) for depth in _DEPTHS_MM]
    return np.asarray(np.max(depths, axis=0), dtype=np.float32)


def coloured(values: npt.NDArray[np.floating]) -> UInt8:
    """Values from 0 to 1 as colours of a hot metal: black, red, yellow, white."""
    ramps = [3 * values - start for start in (0, 1, 2)]
    return np.asarray(np.rint(255 * np.clip(np.stack(ramps, axis=-1), 0, 1)), dtype=np.uint8)


def without_small_marks(capture: UInt8) -> UInt8:
    """Take a capture's burned-in lettering away and crop to the pictures on it.

    The rule: the background is the most frequent colour. Whatever stands out from it and is lower
    than 6 % of the capture's height, as letters, lines of text and rulers are, becomes black, as
    the background does; the capture is cropped to the rest. Lettering that touches a picture or
    stands on a panel of another colour stays, so a picture treated like this is still not free of
    identity for certain.

    Raises
    ------
    ValueError
        Nothing that is large enough is left.
    """
    colours = capture.reshape(-1, 3).astype(np.int64) @ (1 << 16, 1 << 8, 1)
    most = int(np.bincount(np.unique(colours, return_inverse=True)[1]).argmax())
    background = capture.reshape(-1, 3)[colours == np.unique(colours)[most]][0]
    stands_out = (np.abs(capture.astype(int) - background).max(axis=-1) >= _DARK).astype(np.uint8)
    kept = _high_parts(stands_out, _SMALL_SHARE * len(capture))
    if not kept.any():
        raise ValueError("the capture shows no picture, only marks or nothing")
    rows, columns = (np.flatnonzero(kept.any(axis=axis)) for axis in (1, 0))
    window = slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)
    return np.asarray(np.where(kept[window][..., None], capture[window], 0), dtype=np.uint8)


def _high_parts(mask: UInt8, height: float) -> npt.NDArray[np.bool_]:
    """The connected parts of a mask [y, x] that span at least so many rows."""
    image = sitk.GetImageFromArray(mask)
    parts = sitk.GetArrayFromImage(sitk.ConnectedComponent(image, True))  # type: ignore[no-untyped-call]
    rows = np.broadcast_to(np.arange(len(mask))[:, None], mask.shape)
    first, last = np.full(parts.max() + 1, len(mask)), np.full(parts.max() + 1, -1)
    np.minimum.at(first, parts, rows)
    np.maximum.at(last, parts, rows)
    return np.asarray((parts > 0) & (last - first + 1 >= height)[parts])


def _scaled(tomogram: Tomogram, lv: LeftVentricle) -> float:
    """Counts that are shown brightest."""
    polar, angle = np.meshgrid(np.linspace(0.05, 0.95, 16), np.arange(36) * np.pi / 18)
    return max(float(np.percentile(through_wall(tomogram, lv, angle, polar), _BRIGHTEST)), 1e-6)


def _is_map() -> npt.NDArray[np.bool_]:
    steps = (np.arange(_POLAR) - (_POLAR - 1) / 2) / (_POLAR / 2)
    across, up = np.meshgrid(steps, steps)
    return np.asarray(np.hypot(across, up) <= 1)
