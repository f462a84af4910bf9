"""From one stored instance to the ECG sheet that the classifier is shown.

A waveform object gives the leads in mV, drawn as in training; a picture of a sheet is taken as it
is; the pages of a PDF are drawn. Which of several pages is meant is told by what it looks like,
but nothing here decides whether a single picture shows an ECG at all.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from pydicom import Dataset
from pydicom.uid import (
    UID,
    EncapsulatedPDFStorage,
    ImplicitVRLittleEndian,
    SecondaryCaptureImageStorage,
)
from pydicom.waveforms.numpy_handler import WAVEFORM_DTYPES

from models.ecg_leads import INDEPENDENT, LEADS, twelve
from models.ecg_sheet import SECONDS, SIDE, WIDTH_PX, draw_sheet
from pipeline.case import Float32, UInt8
from pipeline.elements import UNREADABLE, quiet_pydicom
from pipeline.errors import Rejection
from pipeline.pdf_pages import pdf_pages
from pipeline.pictures import ECG_WAVEFORMS
from pipeline.pixels import decode_colour
from pipeline.stages.ecg_plausibility import NOT_A_SHEET, sheet_features, why_no_sheet

_MILLIVOLTS = {"V": 1e3, "mV": 1.0, "uV": 1e-3, "nV": 1e-6}  # UCUM
# Number of a lead at the end of its code (CID 3001): MDC "2:61", SCPECG "5.6.3-9-61".
_NUMBERS = dict(zip(("1", "2", "61", "62", "63", "64", *"345678"), LEADS, strict=True))
_RATES_HZ = (100.0, 16_000.0)
_SPARE_S = 0.1  # some devices store a little less than ten seconds
_RANGE_MV = (0.1, 30.0)  # from the lowest to the highest sample of the lead that moves most


@dataclass(frozen=True, slots=True)
class EcgRecord:
    """A 12-lead ECG.

    Attributes
    ----------
    leads : float32 [12, samples]
        In mV, in the order of `models.ecg_leads.LEADS`.
    hz : float
        Samples per second.
    """

    leads: Float32
    hz: float


@dataclass(frozen=True, slots=True)
class EcgSheet:
    """A sheet, and where it stood.

    Attributes
    ----------
    picture : uint8 [y, x, 3]
        Red, green, blue.
    chosen : str
        Which page of several it is, in words; else empty.
    """

    picture: UInt8
    chosen: str = ""


def ecg_sheet(dataset: Dataset) -> EcgSheet:
    """The sheet of a waveform, the picture of one, or the page of a document.

    Parameters
    ----------
    dataset : Dataset
        Of a 12-lead or general ECG waveform, a Secondary Capture or an Encapsulated PDF, with its
        file meta information.

    Raises
    ------
    Rejection
        As `read_waveform`, `read_picture` and `read_document`; ``no_ecg_object`` for any other
        object.
    """
    uid = str(dataset.get("SOPInstanceUID", ""))
    kind = UID(str(dataset.get("SOPClassUID", "")))
    if kind in ECG_WAVEFORMS:
        record = read_waveform(dataset)
        return EcgSheet(draw_sheet(record.leads, record.hz))
    if kind == SecondaryCaptureImageStorage:
        return EcgSheet(read_picture(dataset))
    if kind == EncapsulatedPDFStorage:
        return read_document(dataset)
    raise Rejection("no_ecg_object", f"objects of its class hold no ECG: {kind.name}", uid)


def read_picture(dataset: Dataset) -> UInt8:
    """The picture of a Secondary Capture, uint8 [y, x, 3].

    Raises
    ------
    Rejection
        ``unreadable_pixels``; ``several_pictures``; ``too_small``: smaller than what the network
        sees.
    """
    uid = str(dataset.get("SOPInstanceUID", ""))
    pictures = decode_colour(dataset, uid)
    if len(pictures) > 1:
        raise Rejection("several_pictures", f"it holds {len(pictures)} pictures", uid)
    return _large_enough(pictures[0], uid)


def _large_enough(picture: UInt8, uid: str) -> UInt8:
    rows, columns = picture.shape[:2]
    if min(rows, columns) < SIDE:
        reason = f"its picture of {columns} x {rows} pixels is smaller than {SIDE} x {SIDE}"
        raise Rejection("too_small", reason, uid)
    return picture


def read_document(dataset: Dataset) -> EcgSheet:
    """The page of an Encapsulated PDF (PS3.3 C.24.2) that shows the sheet.

    The only page is taken as it is; of several the one that looks like an ECG sheet.

    Raises
    ------
    Rejection
        As `pipeline.pdf_pages.pdf_pages`; ``too_small``: a page far longer than wide;
        ``not_an_ecg_sheet``: none of several pages looks like one; ``several_sheets``: more than
        one does.
    """
    uid = str(dataset.get("SOPInstanceUID", ""))
    content = dataset.get("EncapsulatedDocument")
    if not isinstance(content, bytes) or not content:
        raise Rejection("pdf_unreadable", "it holds no document", uid)
    pages = pdf_pages(content, WIDTH_PX, uid)
    if len(pages) == 1:
        return EcgSheet(_large_enough(pages[0], uid))
    doubts = {n: _why_no_page(page) for n, page in enumerate(pages, start=1)}
    sheets = [number for number, doubt in doubts.items() if doubt is None]
    if not sheets:
        told = "; ".join(f"page {number}: {doubt}" for number, doubt in doubts.items())
        raise Rejection(NOT_A_SHEET, f"no page looks like an ECG sheet: {told}", uid)
    if len(sheets) > 1:
        which = ", ".join(map(str, sheets))
        raise Rejection("several_sheets", f"several pages look like ECG sheets: {which}", uid)
    (only,) = sheets
    chosen = f"page {only} of {len(pages)}, the only one that looks like an ECG sheet, was taken"
    return EcgSheet(pages[only - 1], chosen)


def _why_no_page(page: UInt8) -> str | None:
    if min(page.shape[:2]) < SIDE:
        return "it is a narrow strip"
    return why_no_sheet(sheet_features(page))


def read_waveform(dataset: Dataset) -> EcgRecord:
    """The record of an ECG waveform object (PS3.3 C.10.9 and C.10.10).

    Of several multiplex groups the first that holds twelve leads of ten seconds is taken. III and
    the augmented leads are computed where only I and II are stored.

    Raises
    ------
    Rejection
        ``unreadable_waveform``; ``missing_leads``: absent, or without any change;
        ``bad_units``: no voltage; ``bad_rate``; ``too_short``; ``missing_samples``: padding or no
        numbers; ``implausible_amplitude``: hardly any voltage or far more than a heart makes. The
        reason is that of the first group.
    """
    uid = str(dataset.get("SOPInstanceUID", ""))
    refused: Rejection | None = None
    with quiet_pydicom():
        try:
            order: Literal["<", ">"] = "<" if _is_little_endian(dataset) else ">"
            for group in dataset.get("WaveformSequence") or ():
                try:
                    return _record(group, order, uid)
                except Rejection as rejection:
                    refused = refused or rejection
        except UNREADABLE as error:
            reason = f"its waveform cannot be read ({type(error).__name__})"
            raise Rejection("unreadable_waveform", reason, uid) from error
    raise refused or Rejection("unreadable_waveform", "it holds no waveform", uid)


def _is_little_endian(dataset: Dataset) -> bool:
    meta = getattr(dataset, "file_meta", Dataset())
    return UID(str(meta.get("TransferSyntaxUID", ImplicitVRLittleEndian))).is_little_endian


def _record(group: Dataset, order: Literal["<", ">"], uid: str) -> EcgRecord:
    """The record of one multiplex group."""
    hz = float(group.SamplingFrequency)
    if not _RATES_HZ[0] <= hz <= _RATES_HZ[1]:
        raise Rejection("bad_rate", f"its rate of {hz:g} samples per second is none of an ECG", uid)
    channels = dict(_channels(group))
    missing = [LEADS[row] for row in INDEPENDENT if LEADS[row] not in channels]
    if missing:
        raise Rejection("missing_leads", f"leads are missing: {', '.join(missing)}", uid)
    stored = _samples(group, order)
    seconds = len(stored) / hz
    if seconds < SECONDS - _SPARE_S:
        raise Rejection("too_short", f"{seconds:.1f} of {SECONDS:g} seconds are stored", uid)
    used = stored[: round(SECONDS * hz)]
    leads = {}
    for lead, number in channels.items():
        scale, offset = _scale(group.ChannelDefinitionSequence[number], lead, uid)
        leads[lead] = used[:, number] * scale + offset
    independent = np.stack([leads[LEADS[row]] for row in INDEPENDENT])
    every = twelve(independent)
    for row, lead in enumerate(LEADS):
        every[row] = leads.get(lead, every[row])
    _refuse_implausible(every, uid)
    return EcgRecord(every.astype(np.float32), hz)


def _channels(group: Dataset) -> Iterator[tuple[str, int]]:
    """Leads and the channels that hold them; the first where there are several."""
    known: set[str] = set()
    for number, channel in enumerate(group.ChannelDefinitionSequence):
        lead = _lead(channel)
        if lead and lead not in known:
            known.add(lead)
            yield lead, number


def _lead(channel: Dataset) -> str | None:
    """Lead by its code (CID 3001), else by the words that name it."""
    sources = channel.get("ChannelSourceSequence") or [Dataset()]
    value = str(sources[0].get("CodeValue", ""))
    scheme = str(sources[0].get("CodingSchemeDesignator", ""))
    if scheme == "MDC" and value.startswith("2:"):
        return _NUMBERS.get(value.removeprefix("2:"))
    if scheme == "SCPECG" and value.startswith("5.6.3-9-"):
        return _NUMBERS.get(value.removeprefix("5.6.3-9-"))
    words = f"{sources[0].get('CodeMeaning', '')} {channel.get('ChannelLabel', '')}".upper().split()
    return next((lead for lead in LEADS if lead.upper() in words), None)


def _samples(group: Dataset, order: Literal["<", ">"]) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Stored values [samples, channels] in a byte order; padding is no number."""
    kind = WAVEFORM_DTYPES[group.WaveformBitsAllocated, group.WaveformSampleInterpretation]
    shape = int(group.NumberOfWaveformSamples), int(group.NumberOfWaveformChannels)
    dtype = np.dtype(kind).newbyteorder(order)
    stored = np.frombuffer(group.WaveformData, dtype, count=math.prod(shape)).reshape(shape)
    values = stored.astype(np.float64)
    if group.get("WaveformPaddingValue"):
        (padding,) = np.frombuffer(group.WaveformPaddingValue, dtype, count=1)
        values[stored == padding] = np.nan
    return values


def _scale(channel: Dataset, lead: str, uid: str) -> tuple[float, float]:
    """Millivolts of one step of the stored values, and of the value 0."""
    units = channel.get("ChannelSensitivityUnitsSequence") or [Dataset()]
    unit = str(units[0].get("CodeValue", ""))
    if unit not in _MILLIVOLTS or "ChannelSensitivity" not in channel:
        said = f"unit '{unit}'" if unit else "no unit"
        raise Rejection("bad_units", f"lead {lead} states no voltage ({said})", uid)
    step = float(channel.ChannelSensitivity)
    correction = float(channel.get("ChannelSensitivityCorrectionFactor") or 1)
    baseline = float(channel.get("ChannelBaseline") or 0)
    return step * correction * _MILLIVOLTS[unit], baseline * _MILLIVOLTS[unit]


def _refuse_implausible(leads: np.ndarray[Any, np.dtype[np.float64]], uid: str) -> None:
    if not np.isfinite(leads).all():
        raise Rejection("missing_samples", "samples are missing", uid)
    ranges = np.ptp(leads, axis=1)
    flat = [lead for lead, one in zip(LEADS, ranges, strict=True) if one == 0]
    if flat:
        raise Rejection("missing_leads", f"leads without any change: {', '.join(flat)}", uid)
    most = float(ranges.max())
    if not _RANGE_MV[0] <= most <= _RANGE_MV[1]:
        reason = f"its leads range over {most:.3g} mV, which no heart makes"
        raise Rejection("implausible_amplitude", reason, uid)
