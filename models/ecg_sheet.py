"""The paper sheet of a 12-lead ECG, and how pictures of sheets become the input of a network.

Training and service draw records alike: four columns of 2.5 s, three rows, a strip of lead II
below, at 25 mm/s and 10 mm/mV on pink millimetre paper, A4 across. Head and foot lie where the
preparation cuts them off, as letterheads and comments do on sheets from hospitals.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from models.ecg_leads import LEADS

if TYPE_CHECKING:
    from PIL.ImageDraw import ImageDraw
    from PIL.ImageFont import FreeTypeFont, ImageFont

Float32 = npt.NDArray[np.float32]
UInt8 = npt.NDArray[np.uint8]
Colour = tuple[int, int, int]

CLASSES = ("normal", "abnormal_heartbeat", "infarction", "history_of_infarction")
"""What a sheet is told to show, by index."""
SECONDS = 10.0
"""Length of a sheet."""
SIDE = 227
TOP_CUT, BOTTOM_CUT = 0.20, 0.07
"""Share of the height that is cut off above and below."""
MEAN, DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
"""Of the pictures of ImageNet, red, green and blue, in 0 to 1."""

WIDTH_MM, HEIGHT_MM = 297, 210
_MM_PER_S, _MM_PER_MV = 25.0, 10.0
_LEFT_MM = 24.0
_COLUMN_S = SECONDS / 4
_ROWS = ((0, 3, 6, 9), (1, 4, 7, 10), (2, 5, 8, 11))
_STRIP = 1  # lead II
_PULSE_S = 0.2


@dataclass(frozen=True, slots=True)
class SheetStyle:
    """How a sheet is printed.

    Attributes
    ----------
    dots_per_mm : float
    paper, thin, thick, ink : (red, green, blue)
        Of the paper, of its lines at 1 and 5 mm, of trace and letters.
    pen_mm, letters_mm : float
        Width of the trace, height of the letters.
    """

    dots_per_mm: float = 5.0
    paper: Colour = (255, 248, 246)
    thin: Colour = (250, 220, 216)
    thick: Colour = (240, 170, 164)
    ink: Colour = (20, 20, 24)
    pen_mm: float = 0.4
    letters_mm: float = 3.4


PLAIN = SheetStyle()
WIDTH_PX = round(WIDTH_MM * PLAIN.dots_per_mm)
"""Of a sheet that is drawn plainly."""


def draw_sheet(
    leads: Float32, hz: float, *, head: Sequence[str] = (), style: SheetStyle = PLAIN
) -> UInt8:
    """Draw the first ten seconds of a record.

    Parameters
    ----------
    leads : float32 [12, samples]
        In mV, in the order of `LEADS`. The median of each trace lies on its line.
    hz : float
        Samples per second.
    head : sequence of str
        Lines at the top, in the part that `prepared` cuts off.
    style : SheetStyle

    Returns
    -------
    uint8 [y, x, 3]

    Raises
    ------
    ValueError
        It is not a record of twelve leads, or has values that are no numbers.
    """
    from PIL import Image, ImageDraw

    if leads.ndim != 2 or len(leads) != len(LEADS) or not np.isfinite(leads).all() or hz <= 0:
        raise ValueError("a record has twelve leads of finite values at a positive rate")
    dots = style.dots_per_mm
    size = round(WIDTH_MM * dots), round(HEIGHT_MM * dots)
    image = Image.new("RGB", size, style.paper)
    pen = ImageDraw.Draw(image)
    _draw_paper(pen, style)
    letters = _letters(style)
    lines = ("25 mm/s  10 mm/mV", *head)
    for number, line in enumerate(lines):
        place = (10 * dots, (6 + number * 1.6 * style.letters_mm) * dots)
        pen.text(place, line, fill=style.ink, font=letters)
    for name, (left, top), points in traces_mm(leads, hz):
        _draw_line(pen, points, style)
        pen.text((left * dots, top * dots), name, fill=style.ink, font=letters)
    return np.asarray(image)


def traces_mm(
    leads: Float32, hz: float
) -> Iterator[tuple[str, tuple[float, float], npt.NDArray[np.float64]]]:
    """Yield what the pen draws upon the paper of a sheet, in mm from its upper left corner.

    Yields
    ------
    name : str
        Of the lead; empty for a calibration pulse.
    place : (x, y)
        Upper left corner of its letters.
    points : float64 [points, 2]
        (x, y) along the line.
    """
    for row, (name, trace_mm) in _traces(leads, hz):
        base = _baseline_mm(row)
        points = np.asarray(trace_mm * (1, -1) + (0, base), dtype=np.float64)
        yield name, (float(trace_mm[0, 0]) + 1, base - 14), points


def _draw_paper(pen: "ImageDraw", style: SheetStyle) -> None:
    """Millimetre paper, thick lines at every fifth."""
    dots = style.dots_per_mm
    right, bottom = WIDTH_MM * dots, HEIGHT_MM * dots
    for colour, step in ((style.thin, 1), (style.thick, 5)):
        for x in range(0, WIDTH_MM, step):
            pen.line([(x * dots, 0), (x * dots, bottom)], fill=colour)
        for y in range(0, HEIGHT_MM, step):
            pen.line([(0, y * dots), (right, y * dots)], fill=colour)


def _letters(style: SheetStyle) -> "FreeTypeFont | ImageFont":
    from PIL import ImageFont

    return ImageFont.load_default(style.letters_mm * style.dots_per_mm)


def _traces(leads: Float32, hz: float) -> Iterator[tuple[int, tuple[str, Float32]]]:
    """Row, and name and trace (x, height above the line) in mm, of all that is drawn."""
    end = _LEFT_MM - 2
    start = end - _PULSE_S * _MM_PER_S
    pulse = np.array([[start, 0], [start, 10], [end, 10], [end, 0]], np.float32)
    for row, chosen in enumerate(_ROWS):
        yield row, ("", pulse)
        for column, lead in enumerate(chosen):
            start = column * _COLUMN_S
            yield row, (LEADS[lead], _trace(leads[lead], hz, start, start + _COLUMN_S))
    yield len(_ROWS), ("", pulse)
    yield len(_ROWS), (LEADS[_STRIP], _trace(leads[_STRIP], hz, 0.0, SECONDS))


def _trace(lead: Float32, hz: float, start_s: float, end_s: float) -> Float32:
    first, last = round(start_s * hz), min(round(end_s * hz), len(lead))
    times = np.arange(first, max(last, first + 1)) / hz
    millivolts = np.interp(times, np.arange(len(lead)) / hz, lead)
    heights = (millivolts - np.median(millivolts)) * _MM_PER_MV
    return np.stack([_LEFT_MM + times * _MM_PER_S, heights], axis=1).astype(np.float32)


def _baseline_mm(row: int) -> float:
    """Where the line of a row lies, from the top; the rows share what is not cut off."""
    top, bottom = TOP_CUT * HEIGHT_MM, (1 - BOTTOM_CUT) * HEIGHT_MM
    return top + (row + 0.5) * (bottom - top) / (len(_ROWS) + 1)


def _draw_line(pen: "ImageDraw", points_mm: npt.NDArray[np.float64], style: SheetStyle) -> None:
    dots = (points_mm * style.dots_per_mm).ravel().tolist()
    pen.line(dots, fill=style.ink, width=max(round(style.pen_mm * style.dots_per_mm), 1))


def prepared(sheet: UInt8) -> Float32:
    """Input of the network of a picture of a sheet, however it was taken.

    The upper 20 % and the lower 7 % are cut off, the rest is resampled (bicubic, smoothed) to 227
    by 227, and the colours are laid on the mean and deviation of ImageNet.

    Parameters
    ----------
    sheet : uint8 [y, x, 3]
        Red, green, blue.

    Returns
    -------
    float32 [3, 227, 227]
    """
    from PIL import Image

    rows = len(sheet)
    inner = sheet[round(TOP_CUT * rows) : rows - round(BOTTOM_CUT * rows)]
    small = Image.fromarray(np.ascontiguousarray(inner)).resize(
        (SIDE, SIDE), Image.Resampling.BICUBIC
    )
    scaled = np.asarray(small, dtype=np.float32) / 255
    normal = (scaled - MEAN) / DEVIATION
    return np.ascontiguousarray(normal.transpose(2, 0, 1), dtype=np.float32)
