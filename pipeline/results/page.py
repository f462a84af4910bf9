"""The report as one page, for viewers that show neither SEG nor SR: as an image and as a PDF.

Secondary Capture Image (PS3.3 A.8.1) and Encapsulated PDF (PS3.3 A.45.1), with the identity and
the stamps of every other object of a result.
"""

import io
from itertools import chain
from typing import TYPE_CHECKING

import numpy as np
from pydicom import Dataset
from pydicom.sr.coding import Code
from pydicom.uid import (
    UID,
    EncapsulatedPDFStorage,
    SecondaryCaptureImageStorage,
)

from pipeline.case import UInt8
from pipeline.results.common import (
    ObjectIdentity,
    ResultBasis,
    ResultObject,
    begun,
    coded,
    finished,
    identify,
)
from pipeline.results.pen import FAINT
from pipeline.results.profiles import PAGE_ROLE, PDF_ROLE
from pipeline.results.sheet import draw_sheet
from pipeline.results.source import instance_references

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_TITLE = "Cardiac CAD report, automatic, unverified"
_REPORT = Code("18748-4", "LN", "Diagnostic imaging report")
_DPI = 140
# Controls of viewers lie over the top of an image: no text stands there.
FREE_SHARE = 0.16
_WHY_FREE = "The space above is left free for what viewers write over an image."


def write_page(basis: ResultBasis, *, with_image: bool = True) -> tuple[ResultObject, ...]:
    """Write the page, drawn once: as an image, role ``page``, where that is wanted; as a PDF.

    The image comes first.
    """
    with draw_sheet(basis) as figure:
        content, page = page_pdf(figure), page_rgb(figure) if with_image else None
    image = () if page is None else (_secondary_capture(basis, page),)
    return (*image, _encapsulated_pdf(basis, content))


def _secondary_capture(basis: ResultBasis, page: UInt8) -> ResultObject:
    """Make the page [y, x, 3] an RGB image; the identity of the patient is burned in."""
    identity = identify(PAGE_ROLE, basis)
    dataset = _document(basis, identity, SecondaryCaptureImageStorage, "OT", 0)
    dataset.ImageType = ["DERIVED", "SECONDARY"]
    dataset.BodyPartExamined = "HEART"
    dataset.PatientOrientation = ""
    pixels = with_free_top(page)
    dataset.Rows, dataset.Columns = pixels.shape[:2]
    dataset.SamplesPerPixel = 3
    dataset.PhotometricInterpretation = "RGB"
    dataset.PlanarConfiguration = 0
    dataset.BitsAllocated = dataset.BitsStored = 8
    dataset.HighBit = 7
    dataset.PixelRepresentation = 0
    dataset.PixelData = even(pixels.tobytes())
    return finished(dataset, identity, basis)


def _encapsulated_pdf(basis: ResultBasis, content: bytes) -> ResultObject:
    """Make the PDF of the page, one A4 sheet, an object."""
    identity = identify(PDF_ROLE, basis)
    dataset = _document(basis, identity, EncapsulatedPDFStorage, "DOC", 1)
    dataset.AcquisitionDateTime = ""
    dataset.DocumentTitle = _TITLE
    dataset.ConceptNameCodeSequence = [coded(_REPORT)]
    dataset.VerificationFlag = "UNVERIFIED"
    key_phases = (basis.case.stack.sources[index] for _, index in basis.contents.phases)
    dataset.SourceInstanceSequence = instance_references(filter(None, chain(*key_phases)))
    set_document(dataset, content)
    return finished(dataset, identity, basis)


def set_document(dataset: Dataset, content: bytes) -> None:
    """Put a PDF into a data set (PS3.3 C.24.2)."""
    dataset.MIMETypeOfEncapsulatedDocument = "application/pdf"
    dataset.EncapsulatedDocument = even(content)
    dataset.EncapsulatedDocumentLength = len(content)


def page_rgb(figure: "Figure") -> UInt8:
    """Pixels of a page, uint8 [y, x, 3]."""
    figure.set_dpi(_DPI)
    return _pixels(figure)


def _pixels(figure: "Figure") -> UInt8:
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    canvas = FigureCanvasAgg(figure)
    canvas.draw()  # type: ignore[no-untyped-call]
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()  # type: ignore[no-untyped-call]


def page_pdf(figure: "Figure") -> bytes:
    """PDF of a page, one A4 sheet; equal pages give equal bytes."""
    content = io.BytesIO()
    figure.savefig(content, format="pdf", metadata={"Title": _TITLE, "CreationDate": None})
    return content.getvalue()


def with_free_top(page: UInt8) -> UInt8:
    """Put white above a page [y, x, 3], where viewers lay their controls; at its foot, why."""
    from matplotlib import style
    from matplotlib.figure import Figure

    rows, columns = round(page.shape[0] * FREE_SHARE / (1 - FREE_SHARE)), page.shape[1]
    with style.context("default"):
        figure = Figure(((columns + 0.5) / _DPI, (rows + 0.5) / _DPI), _DPI, facecolor="white")
        figure.text(0.5, 0.01, _WHY_FREE, size=5, color=FAINT, ha="center", va="bottom")
        return np.concatenate([_pixels(figure)[:rows, :columns], page])


def _document(
    basis: ResultBasis, identity: ObjectIdentity, sop_class: UID, modality: str, number: int
) -> Dataset:
    """Make what both objects share: series, equipment and what kind of document it is."""
    dataset = begun(identity, sop_class, basis)
    dataset.Modality = modality
    dataset.SeriesNumber = basis.contents.page_number + number
    dataset.InstanceNumber = basis.context.instance_number
    subject = basis.contents.subject
    dataset.SeriesDescription = f"Cardiac CAD report, {subject}, automatic, unverified"
    dataset.ConversionType = "WSD"
    dataset.BurnedInAnnotation = "YES"
    return dataset


def even(content: bytes) -> bytes:
    """Pad a value to an even length (PS3.5 7.1.1)."""
    return content + b"\0" * (len(content) % 2)
