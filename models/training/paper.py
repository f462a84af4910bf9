"""What printing, handling and photographing do to an ECG sheet; for training only."""

from io import BytesIO

import numpy as np

from models.ecg_sheet import Colour, SheetStyle, UInt8

_GRIDS: tuple[tuple[Colour, Colour], ...] = (  # thin and thick lines
    ((250, 220, 216), (240, 170, 164)),
    ((252, 205, 200), (235, 130, 120)),
    ((253, 228, 222), (246, 190, 180)),
    ((235, 215, 240), (200, 160, 215)),
    ((215, 235, 215), (150, 200, 155)),
    ((228, 228, 228), (185, 185, 185)),
)


def random_style(rng: np.random.Generator) -> SheetStyle:
    """A printer: its resolution, paper, grid, ink, pen and letters."""
    thin, thick = _GRIDS[int(rng.integers(len(_GRIDS)))]
    light = int(rng.integers(238, 256))
    dark = int(rng.integers(0, 90))
    return SheetStyle(
        dots_per_mm=float(rng.uniform(1.8, 2.8)),
        paper=(light, int(light - rng.integers(0, 12)), int(light - rng.integers(0, 16))),
        thin=thin,
        thick=thick,
        ink=(dark, dark, dark + int(rng.integers(0, 40))),
        pen_mm=float(rng.uniform(0.25, 0.7)),
        letters_mm=float(rng.uniform(2.6, 4.2)),
    )


def scanned(sheet: UInt8, rng: np.random.Generator) -> UInt8:
    """The sheet after a scanner or a camera.

    In turn, each with its own chance: rotation by up to 3 degrees, perspective and scale; blur;
    a tint, a gamma and a shadow; noise; JPEG.

    Parameters
    ----------
    sheet : uint8 [y, x, 3]
    rng : Generator

    Returns
    -------
    uint8 [y, x, 3]
        As large as the sheet.
    """
    from PIL import Image, ImageFilter

    image = Image.fromarray(sheet)
    if rng.random() < 0.8:
        fill = tuple(int(value) for value in sheet[2, 2])
        corners = _moved_corners(image.size, rng)
        image = image.transform(
            image.size,
            Image.Transform.PERSPECTIVE,
            _perspective(image.size, corners),
            Image.Resampling.BILINEAR,
            fillcolor=fill,
        )
    if rng.random() < 0.5:
        image = image.filter(ImageFilter.GaussianBlur(float(rng.uniform(0.3, 1.4))))
    if rng.random() < 0.7:
        image = Image.fromarray(_lit(np.asarray(image), rng))
    if rng.random() < 0.6:
        buffer = BytesIO()
        image.save(buffer, "JPEG", quality=int(rng.integers(25, 92)))
        image = Image.open(buffer).convert("RGB")
    return np.asarray(image)


def _moved_corners(size: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
    """Where in the sheet the corners of the picture lie; float64 [4, 2], x and y."""
    width, height = size
    corners = np.array([[0, 0], [width, 0], [width, height], [0, height]], dtype=np.float64)
    middle = corners.mean(axis=0)
    angle = np.radians(rng.uniform(-3, 3))
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    scale = rng.uniform(0.96, 1.05, 2)
    shift = rng.uniform(-0.02, 0.02, 2) * size
    tilt = rng.uniform(-0.02, 0.02, (4, 2)) * size
    moved: np.ndarray = (corners - middle) * scale @ turn.T + middle + shift + tilt
    return moved


def _perspective(size: tuple[int, int], corners: np.ndarray) -> tuple[float, ...]:
    """The eight numbers by which PIL finds a place in the sheet for one in the picture."""
    width, height = size
    rows, wanted = [], []
    places = ((0, 0), (width, 0), (width, height), (0, height))
    for (x, y), (u, v) in zip(places, corners, strict=True):
        rows += [[x, y, 1, 0, 0, 0, -u * x, -u * y], [0, 0, 0, x, y, 1, -v * x, -v * y]]
        wanted += [u, v]
    return tuple(np.linalg.solve(np.array(rows), np.array(wanted)).tolist())


def _lit(sheet: UInt8, rng: np.random.Generator) -> UInt8:
    """Under another light: tint, gamma, a shadow that falls across, noise."""
    curve = 255 * (np.arange(256) / 255) ** rng.uniform(0.75, 1.35)
    table = (curve[:, None] * rng.uniform(0.86, 1.0, 3)).astype(np.float32)
    values = np.stack([table[sheet[..., colour], colour] for colour in range(3)], axis=-1)
    rows, columns = (np.linspace(-1, 1, size, dtype=np.float32) for size in sheet.shape[:2])
    angle, edge = rng.uniform(0, 2 * np.pi), rng.uniform(-0.8, 0.8)
    across = rows[:, None] * np.float32(np.sin(angle)) + columns * np.float32(np.cos(angle))
    depth, softness = rng.uniform(0, 0.4), rng.uniform(0.1, 0.8)
    shade = 1 - depth / (1 + np.exp(-(across - edge) / softness))
    values *= shade.astype(np.float32)[..., None]
    noise = rng.standard_normal((*sheet.shape[:2], 1), dtype=np.float32)
    values += np.float32(rng.uniform(0, 8)) * noise
    return np.asarray(values.clip(0, 255), dtype=np.uint8)
