"""The sheet of a synthetic ECG as a PDF: lines and letters, as electrocardiographs print it."""

import zlib
from collections.abc import Iterable, Iterator, Sequence

from models.ecg_sheet import HEIGHT_MM, PLAIN, WIDTH_MM, Colour, Float32, traces_mm

_POINTS_PER_MM = 72 / 25.4
_THIN_MM, _THICK_MM = 0.1, 0.2  # of the lines of the paper


def sheet_pdf(leads: Float32, hz: float, *, head: Sequence[str] = ()) -> bytes:
    """Write the sheet that `models.ecg_sheet.draw_sheet` draws as one page of A4 across.

    Parameters
    ----------
    leads : float32 [12, samples]
        In mV, in the order of `models.ecg_leads.LEADS`.
    hz : float
        Samples per second.
    head : sequence of str
        Lines at the top; ASCII.

    Returns
    -------
    bytes
        Equal for equal records.
    """
    # Millimetres from the upper left corner, downwards.
    scale, top = _POINTS_PER_MM, HEIGHT_MM * _POINTS_PER_MM
    marks = (f"{scale:.6f} 0 0 {-scale:.6f} 0 {top:.3f} cm 1 j", *_paper(), *_ink(leads, hz, head))
    content = zlib.compress("\n".join(marks).encode("ascii"))
    box = f"[0 0 {WIDTH_MM * scale:.3f} {top:.3f}]"
    return _document(
        [
            b"<</Type/Catalog/Pages 2 0 R>>",
            b"<</Type/Pages/Kids[3 0 R]/Count 1>>",
            f"<</Type/Page/Parent 2 0 R/MediaBox{box}/Contents 4 0 R"
            "/Resources<</Font<</F 5 0 R>>>>>>".encode("ascii"),
            b"<</Length %d/Filter/FlateDecode>>stream\n%b\nendstream" % (len(content), content),
            b"<</Type/Font/Subtype/Type1/BaseFont/Helvetica>>",
        ]
    )


def _paper() -> Iterator[str]:
    yield f"{_rgb(PLAIN.paper)} rg 0 0 {WIDTH_MM} {HEIGHT_MM} re f"
    for colour, step, pen_mm in ((PLAIN.thin, 1, _THIN_MM), (PLAIN.thick, 5, _THICK_MM)):
        yield f"{_rgb(colour)} RG {pen_mm} w"
        for x in range(0, WIDTH_MM, step):
            yield _line([(x, 0), (x, HEIGHT_MM)])
        for y in range(0, HEIGHT_MM, step):
            yield _line([(0, y), (WIDTH_MM, y)])


def _ink(leads: Float32, hz: float, head: Sequence[str]) -> Iterator[str]:
    yield f"{_rgb(PLAIN.ink)} RG {_rgb(PLAIN.ink)} rg {PLAIN.pen_mm} w"
    for number, line in enumerate(("25 mm/s  10 mm/mV", *head)):
        yield _text(10, 6 + number * 1.6 * PLAIN.letters_mm, line)
    for name, place, points in traces_mm(leads, hz):
        yield _line(points.tolist())
        yield _text(*place, name)


def _rgb(colour: Colour) -> str:
    return " ".join(f"{part / 255:.3f}" for part in colour)


def _line(points: Iterable[Sequence[float]]) -> str:
    first, *rest = (f"{x:.2f} {y:.2f}" for x, y in points)
    return " ".join([f"{first} m", *(f"{point} l" for point in rest), "S"])


def _text(left: float, top: float, words: str) -> str:
    safe = "".join(f"\\{one}" if one in "()\\" else one for one in words)
    size = PLAIN.letters_mm
    return f"BT /F {size} Tf 1 0 0 -1 {left:.2f} {top + size:.2f} Tm ({safe}) Tj ET"


def _document(objects: Sequence[bytes]) -> bytes:
    """Number the objects, the catalog first, and say where each begins (ISO 32000-1, 7.5)."""
    content, places = b"%PDF-1.4\n", []
    for number, item in enumerate(objects, start=1):
        places.append(len(content))
        content += b"%d 0 obj\n%b\nendobj\n" % (number, item)
    table = b"".join(b"%010d 00000 n \n" % place for place in places)
    count = len(objects) + 1
    return (
        content
        + b"xref\n0 %d\n0000000000 65535 f \n%b" % (count, table)
        + b"trailer\n<</Size %d/Root 1 0 R>>\nstartxref\n%d\n%%%%EOF\n" % (count, len(content))
    )
