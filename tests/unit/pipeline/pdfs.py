"""PDFs to read: sheets of an ECG, letters, and documents that are built to do harm."""

import io
import zlib
from collections.abc import Sequence

import pypdfium2
from matplotlib.figure import Figure
from PIL import Image

from dicom_node.phantom_ecg_pdf import sheet_pdf
from models.synthetic.ecg import synthesise_ecg
from pipeline.case import UInt8
from pipeline.results.page import page_pdf

_A4_ACROSS = (11.69, 8.27)


def ecg_pdf(seed: int = 3) -> bytes:
    drawn = synthesise_ecg(seed)
    return sheet_pdf(drawn.leads, drawn.hz)


def letter_pdf(size: tuple[float, float] = _A4_ACROSS) -> bytes:
    """A page of text, inches wide and high."""
    figure = Figure(size)
    for line in range(24):
        figure.text(
            0.1, 0.95 - line / 26, f"Line {line} of the letter about a patient and a heart."
        )
    return page_pdf(figure)


def scan_pdf(picture: UInt8, quality: int = 90) -> bytes:
    """A page that is a photograph (JPEG) and nothing else."""
    content = io.BytesIO()
    Image.fromarray(picture).save(content, "PDF", resolution=127, quality=quality)
    return content.getvalue()


def joined(documents: Sequence[bytes]) -> bytes:
    """All pages of some documents in one."""
    whole = pypdfium2.PdfDocument.new()
    for document in documents:
        whole.import_pages(pypdfium2.PdfDocument(document))
    content = io.BytesIO()
    whole.save(content)
    return content.getvalue()


def raw_pdf(
    drawing: bytes = b"",
    *,
    box: str = "0 0 842 595",
    page: bytes = b"",
    trailer: bytes = b"",
    more: Sequence[bytes] = (),
) -> bytes:
    """A document of one page, written out; its objects from 5 on are `more`."""
    objects = [
        b"<</Type/Catalog/Pages 2 0 R>>",
        b"<</Type/Pages/Kids[3 0 R]/Count 1>>",
        b"<</Type/Page/Parent 2 0 R/MediaBox[%b]/Contents 4 0 R%b>>" % (box.encode(), page),
        stream(drawing),
        *more,
    ]
    body = b"".join(b"%d 0 obj\n%b\nendobj\n" % item for item in enumerate(objects, start=1))
    return b"%PDF-1.4\n" + body + b"trailer\n<</Root 1 0 R%b>>\n%%%%EOF\n" % trailer


def stream(content: bytes, entries: bytes = b"") -> bytes:
    packed = zlib.compress(content)
    head = b"<</Length %d/Filter/FlateDecode%b>>" % (len(packed), entries)
    return head + b"stream\n" + packed + b"\nendstream"


def encrypted_pdf() -> bytes:
    """A document whose password nobody knows (ISO 32000-1, 7.6.3)."""
    secret = b"<" + b"5a" * 32 + b">"
    security = b"/Encrypt<</Filter/Standard/V 1/R 2/P -4/O%b/U%b>>/ID[<00><00>]" % (secret, secret)
    return raw_pdf(trailer=security)


def picture_bomb(side: int) -> bytes:
    """A black picture of side x side pixels in a few megabytes; `side` a multiple of 100."""
    rows = b"\0" * (3 * side * 100)
    packed = zlib.compressobj(9)
    # After a full flush equal rows give equal bytes: what need not be packed is repeated.
    first, again = (packed.compress(rows) + packed.flush(zlib.Z_FULL_FLUSH) for _ in range(2))
    content = first + (side // 100 - 1) * again + packed.flush()
    entries = b"/Type/XObject/Subtype/Image/Width %d/Height %d/ColorSpace/DeviceRGB" % (side, side)
    entries += b"/BitsPerComponent 8/Filter/FlateDecode/Length %d" % len(content)
    image = b"<<" + entries + b">>stream\n" + content + b"\nendstream"
    resources = b"/Resources<</XObject<</I 5 0 R>>>>"
    return raw_pdf(b"842 0 0 595 0 0 cm /I Do", page=resources, more=[image])


def endless_pdf() -> bytes:
    """Forms that draw each other ten times each, ten levels deep."""
    levels = 10
    forms = []
    for level in range(levels):
        entries = b"/Type/XObject/Subtype/Form/BBox[0 0 842 595]"
        if level < levels - 1:
            entries += b"/Resources<</XObject<</X %d 0 R>>>>" % (6 + level)
        drawing = b"/X Do " * 10 if level < levels - 1 else b"0 0 m 800 500 l S " * 50
        forms.append(stream(drawing, entries))
    return raw_pdf(b"/X Do", page=b"/Resources<</XObject<</X 5 0 R>>>>", more=forms)
