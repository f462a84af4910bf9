"""Pictures that are neither an ECG sheet nor a perfusion display, and what is none of a heart."""

import io
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pydicom
from PIL import Image, ImageDraw, ImageFont

from models.ecg_sheet import draw_sheet
from models.synthetic.cine import synthesise_cine
from models.synthetic.ecg import synthesise_ecg
from pipeline.case import UInt8
from pipeline.elements import quiet_pydicom
from pipeline.results import write_results
from tests.unit.pipeline.lge_cases import lge_case
from tests.unit.pipeline.result_cases import CONTEXT, make_case

_SHAPE = (600, 800)


class Decoy(NamedTuple):
    """A picture uint8 [y, x, 3], and what it is."""

    kind: str
    picture: UInt8


def decoys(data: Path | None = None, seeds: Iterable[int] = range(3)) -> Iterator[Decoy]:
    """Every decoy; with a folder of real data those made of it, too."""
    for kind, draw in _DRAWN.items():
        for seed in seeds:
            yield Decoy(kind, draw(np.random.default_rng(seed)))
    for case in (make_case(), lge_case()):
        for item in write_results(case, CONTEXT, ("legacy",)):
            if item.role == "page":
                yield Decoy("report page of the node", _coloured(item.dataset.pixel_array))
    if data is not None:
        yield from _real(data)


def _real(data: Path) -> Iterator[Decoy]:
    for number in (0, 13, 26, 39):
        yield Decoy("long-axis cine", _of_file(data / f"other/long_axis_cine/{number:03d}.dcm"))
    for path in sorted((data / "other/enhanced_mr").glob("*.dcm")):
        yield Decoy("brain or phantom MR", _of_file(path))
    cine = sorted((data / "sunnybrook/dicom").rglob("*.dcm"))
    for path in cine[:: max(1, len(cine) // 4)][:4]:
        yield Decoy("short-axis cine", _of_file(path))
    images = sorted((data / "emidec/images").glob("*.png"))
    for path in images[:: max(1, len(images) // 4)][:4]:
        with Image.open(path) as image:
            yield Decoy("late enhancement", _coloured(np.asarray(image.convert("L"))))


def _of_file(path: Path) -> UInt8:
    with quiet_pydicom():
        pixels = pydicom.dcmread(path).pixel_array
    return _coloured(pixels if pixels.ndim == 2 else pixels[len(pixels) // 2])


def _coloured(pixels: np.ndarray) -> UInt8:
    """Shades of grey from the darkest to the brightest; colours as they are."""
    if pixels.ndim == 3:
        return np.asarray(pixels, np.uint8)
    span = max(float(np.ptp(pixels)), 1e-6)
    grey = (255 * (pixels - pixels.min().astype(float)) / span).astype(np.uint8)
    return np.repeat(grey[..., None], 3, axis=-1)


def _fractal(rng: np.random.Generator, power: float = 2.0) -> np.ndarray:
    """Noise whose spectrum falls with a power of the frequency, 0 to 1."""
    y, x = (np.fft.fftfreq(size) for size in _SHAPE)
    fall = np.maximum(np.hypot(y[:, None], x), 1e-3) ** -power
    field = np.fft.ifft2(fall * np.exp(2j * np.pi * rng.random(_SHAPE))).real
    return (field - field.min()) / np.ptp(field)


def _grid() -> tuple[np.ndarray, np.ndarray]:
    y, x = np.mgrid[: _SHAPE[0], : _SHAPE[1]]
    return (y / _SHAPE[0] - 0.5), (x / _SHAPE[1] - 0.5)


def _chest(rng: np.random.Generator) -> UInt8:
    """Two dark lungs, ribs, a heart, a spine, on a bright body."""
    y, x = _grid()
    image = 0.75 - 0.3 * (x**2 + y**2)
    for side in (-1, 1):
        lung = ((x - side * 0.2) / 0.15) ** 2 + (y / 0.38) ** 2 < 1
        ribs = 0.06 * np.sin(60 * (y + 0.6 * (np.abs(x) - 0.2) ** 2) + rng.uniform(0, 6))
        image = np.where(lung, 0.25 + ribs, image)
    heart = ((x - 0.06) / 0.11) ** 2 + ((y - 0.12) / 0.16) ** 2 < 1
    image = np.where(heart | (np.abs(x) < 0.03), 0.8, image)
    return _coloured(image + 0.02 * rng.standard_normal(_SHAPE))


def _localizer(rng: np.random.Generator) -> UInt8:
    """A coarse MR slice of a body."""
    slices = synthesise_cine(int(rng.integers(50)), phases=2, rows=96, columns=96).frames[0]
    return _coloured(np.kron(slices[len(slices) // 2], np.ones((4, 4))))


def _contact_sheet(rng: np.random.Generator) -> UInt8:
    """Slices of a cine side by side on black."""
    frames = synthesise_cine(int(rng.integers(50)), phases=2, rows=96, columns=96).frames[0]
    rows = [np.hstack(frames[first : first + 4]) for first in (0, 4)]
    return _coloured(np.vstack(rows))


def _text(rng: np.random.Generator) -> UInt8:
    """A typed letter."""
    image, pen = _page()
    words = [
        "report",
        "patient",
        "heart",
        "seen",
        "normal",
        "unchanged",
        "clinic",
        "date",
        "signed",
        "therapy",
    ]
    for line in range(24):
        pen.text((40, 20 + 24 * line), " ".join(rng.choice(words, 11)), fill=(0, 0, 0), font=_FONT)
    return np.asarray(image)


def _form(rng: np.random.Generator) -> UInt8:
    """A form with a table."""
    image, pen = _page()
    for y in range(40, 580, 36):
        pen.line((40, y, 760, y), fill=(90, 90, 90), width=2)
        pen.text((50, y + 8), f"field {rng.integers(999)}", fill=(0, 0, 0), font=_FONT)
    for x in range(40, 780, 120):
        pen.line((x, 40, x, 580), fill=(90, 90, 90), width=2)
    return np.asarray(image)


def _chart(rng: np.random.Generator) -> UInt8:
    """A curve with axes, without a grid."""
    image, pen = _page()
    x = np.linspace(60, 760, 200)
    y = 300 + 120 * np.sin(x / rng.uniform(40, 120))
    pen.line([*zip(x.tolist(), y.tolist(), strict=True)], fill=(0, 0, 0), width=3)
    pen.line((60, 30, 60, 570, 760, 570), fill=(0, 0, 0), width=2)
    return np.asarray(image)


def _charted(rng: np.random.Generator) -> UInt8:
    """Many curves as of an EEG, on white."""
    image, pen = _page()
    x = np.arange(20, 780)
    for row in range(16):
        y = 30 + 35 * row + 6 * rng.standard_normal(len(x)).cumsum() / 10
        pen.line([*zip(x.tolist(), y.tolist(), strict=True)], fill=(0, 0, 0), width=1)
    return np.asarray(image)


def _empty_paper(rng: np.random.Generator) -> UInt8:
    """Millimetre paper that nothing is drawn on."""
    silent = np.zeros((12, 5000), np.float32)
    sheet = draw_sheet(silent, 500.0).copy()
    light = sheet.mean(axis=-1) > 120
    return np.where(light[..., None], sheet, sheet.max(axis=(0, 1))) - np.uint8(rng.integers(10))


def _turned_sheet(rng: np.random.Generator) -> UInt8:
    """An ECG sheet that lies on its side."""
    drawn = synthesise_ecg(int(rng.integers(50)))
    return np.ascontiguousarray(np.rot90(draw_sheet(drawn.leads, drawn.hz)))


def _monitor(rng: np.random.Generator) -> UInt8:
    """A bedside monitor: bright curves on black."""
    drawn = synthesise_ecg(int(rng.integers(50)))
    return np.asarray(255 - draw_sheet(drawn.leads, drawn.hz), np.uint8)


def _angiogram(rng: np.random.Generator) -> UInt8:
    """Dark vessels on a light ground."""
    image = Image.fromarray(_coloured(0.7 + 0.1 * _fractal(rng)))
    pen = ImageDraw.Draw(image)
    for _ in range(6):
        walk = 60 + np.cumsum(rng.normal((9, 4), 6, (70, 2)), axis=0)
        pen.line([tuple(point) for point in walk.tolist()], fill=(40, 40, 40), width=6)
    return np.asarray(image)


def _tissue(rng: np.random.Generator) -> UInt8:
    """Pink, spotted, as a histological section."""
    cells = _fractal(rng, 1.2)[..., None]
    return np.asarray(np.array([235, 170, 200]) - 90 * (cells > 0.6), np.uint8)


def _sector(rng: np.random.Generator) -> UInt8:
    """An ultrasound sector."""
    y, x = _grid()
    inside = (np.abs(x) < 0.7 * (y + 0.5)) & (np.hypot(x, y + 0.5) < 0.9)
    return _coloured(np.where(inside, _fractal(rng, 1.0) * rng.random(_SHAPE), 0))


def _rings(rng: np.random.Generator) -> UInt8:
    """One transaxial slice of a body: a bright ring with organs in it."""
    y, x = _grid()
    body = np.hypot(x / 0.42, y / 0.35)
    organ = np.hypot(x - rng.uniform(-0.2, 0.2), y) < 0.08
    return _coloured(np.where((body < 1) & (body > 0.85), 1.0, 0.4 * (body < 1)) + 0.5 * organ)


def _photograph(rng: np.random.Generator) -> UInt8:
    return np.stack([np.uint8(255 * _fractal(rng)) for _ in range(3)], axis=-1)


def _board(rng: np.random.Generator) -> UInt8:
    step = int(rng.integers(8, 40))
    y, x = np.indices(_SHAPE)
    return _coloured(((y // step + x // step) % 2).astype(float))


def _page() -> tuple[Image.Image, ImageDraw.ImageDraw]:
    image = Image.new("RGB", (_SHAPE[1], _SHAPE[0]), (255, 255, 255))
    return image, ImageDraw.Draw(image)


def _jpeg_of_noise(rng: np.random.Generator) -> UInt8:
    buffer = io.BytesIO()
    Image.fromarray(_coloured(rng.random(_SHAPE))).save(buffer, "JPEG", quality=20)
    return np.asarray(Image.open(buffer).convert("RGB"))


_FONT = ImageFont.load_default(15)
_DRAWN: dict[str, Callable[[np.random.Generator], UInt8]] = {
    "chest X-ray": _chest,
    "localizer": _localizer,
    "cine slices side by side": _contact_sheet,
    "typed letter": _text,
    "form with a table": _form,
    "chart": _chart,
    "EEG": _charted,
    "empty millimetre paper": _empty_paper,
    "ECG sheet on its side": _turned_sheet,
    "monitor": _monitor,
    "angiogram": _angiogram,
    "histology": _tissue,
    "ultrasound": _sector,
    "transaxial slice": _rings,
    "photograph": _photograph,
    "chessboard": _board,
    "noise": lambda rng: _coloured(rng.random(_SHAPE)),
    "noise as JPEG": _jpeg_of_noise,
    "blank page": lambda rng: np.full((*_SHAPE, 3), 255 - 120 * rng.integers(0, 3), np.uint8),
}


def tomograms(shape: tuple[int, int, int]) -> Iterator[tuple[str, np.ndarray]]:
    """Counts [z, y, x] of a camera that looked at anything but a heart, and what it was."""
    z, y, x = (
        2 * axis / (size - 1) - 1 for axis, size in zip(np.indices(shape), shape, strict=True)
    )
    rng = np.random.default_rng(0)

    def ball(at: tuple[float, float, float], size: tuple[float, float, float]) -> np.ndarray:
        parts = zip((z, y, x), at, size, strict=True)
        return sum(((axis - middle) / half) ** 2 for axis, middle, half in parts) < 1

    shapes = {
        "nothing": np.zeros(shape),
        "noise": np.ones(shape),
        "a body": 0.2 + ball((0, 0, 0), (9, 0.7, 0.9)),
        "a liver": 0.1 + ball((-0.3, 0, -0.4), (0.5, 0.6, 0.5)),
        "kidneys": ball((0, 0.3, 0.4), (0.4, 0.2, 0.2)) + ball((0, 0.3, -0.4), (0.4, 0.2, 0.2)),
        "a spine": 0.1 + ball((0, 0.5, 0), (9, 0.15, 0.15)),
        "a thyroid": 0.02
        + ball((0, 0, 0.1), (0.2, 0.1, 0.07))
        + ball((0, 0, -0.1), (0.2, 0.1, 0.07)),
        "a brain": 0.1 + ball((0, 0, 0), (0.8, 0.8, 0.65)) - 0.3 * ball((0, 0, 0), (0.3, 0.3, 0.1)),
    }
    for kind, activity in shapes.items():
        yield kind, rng.poisson(60.0 * np.maximum(activity, 0)).astype(np.float32)
