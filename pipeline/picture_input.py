"""From the instances of a proposal that is no stack to its case: an ECG, or stress and rest."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from io import BytesIO
from pathlib import Path

from pydicom import Dataset, dcmread

from pipeline.case import FrameSource, QualityFinding, Sources, Verdict
from pipeline.ecg_input import ecg_sheet
from pipeline.elements import UNREADABLE, quiet_pydicom
from pipeline.errors import Rejection
from pipeline.headers import InstanceHeader
from pipeline.picture_case import PictureCase, SpectCase
from pipeline.pictures import ECG, ECG_WAVEFORMS, NM_IMAGE, SPECT
from pipeline.pixels import decode_instance
from pipeline.routing import Proposal
from pipeline.spect_input import PerfusionView, display_capture, perfusion_view
from pipeline.versions import digest_content

_BULK = ("PixelData", "WaveformSequence", "EncapsulatedDocument")


@dataclass(frozen=True, slots=True)
class _Read:
    """A data set with all it holds, and its digest."""

    dataset: Dataset
    digest: str


def assemble_ecg(proposal: Proposal, files: Mapping[str, Path]) -> PictureCase:
    """Read an ECG: the sheet of its waveform, the picture of one, or the page of a document.

    Raises
    ------
    Rejection
        As `pipeline.ecg_input.ecg_sheet`; ``missing_file``, ``unreadable``.
    OSError
        A file cannot be read now.
    """
    (header,) = proposal.headers
    read = _read(header, files)
    sheet = ecg_sheet(read.dataset)
    sources = _sources([header], {header.sop_instance_uid: read})
    chosen = [QualityFinding("ecg_page", Verdict.OK, sheet.chosen)] if sheet.chosen else []
    return PictureCase(
        replace(sources, missing=tuple(one.reason for one in chosen)),
        subject=ECG,
        quality=tuple(chosen),
        picture=sheet.picture,
        drawn=header.sop_class_uid in ECG_WAVEFORMS,
    )


def assemble_spect(proposal: Proposal, files: Mapping[str, Path]) -> SpectCase:
    """Read a perfusion study: tomograms with the ventricle in each, or the capture of a display.

    A tomogram that is no view of a heart is left out where another one is; what was left out is
    named.

    Raises
    ------
    Rejection
        As `pipeline.spect_input.perfusion_view` where no tomogram is of use, and as its
        `display_capture`; ``missing_file``, ``unreadable``.
    OSError
        A file cannot be read now.
    """
    headers = proposal.headers
    if headers[0].sop_class_uid == NM_IMAGE:
        return _tomograms(headers, files)
    read = _read(headers[0], files)
    picture = display_capture(read.dataset)
    sources = _sources(headers, {headers[0].sop_instance_uid: read})
    return SpectCase(sources, subject=SPECT, picture=picture)


def _tomograms(headers: Sequence[InstanceHeader], files: Mapping[str, Path]) -> SpectCase:
    views: list[PerfusionView] = []
    refused: list[Rejection] = []
    read: dict[str, _Read] = {}
    for header in headers:
        uid = header.sop_instance_uid
        try:
            decoded = decode_instance(_file(uid, files), uid)
            read[uid] = _Read(decoded.header, decoded.digest)
            views.append(perfusion_view(decoded))
        except Rejection as rejection:
            refused.append(rejection)
    if not views:
        raise refused[0]
    sources = replace(
        _sources([one for one in headers if one.sop_instance_uid in read], read),
        missing=tuple(f"a tomogram was left out, {one.reason}" for one in refused),
    )
    return SpectCase(sources, subject=SPECT, views=tuple(views), drawn=True)


def _file(uid: str, files: Mapping[str, Path]) -> Path:
    if uid not in files:
        raise Rejection("missing_file", "no file is known for it", uid)
    return files[uid]


def _read(header: InstanceHeader, files: Mapping[str, Path]) -> _Read:
    uid = header.sop_instance_uid
    content = _file(uid, files).read_bytes()
    with quiet_pydicom():
        try:
            return _Read(dcmread(BytesIO(content)), digest_content(content))
        except UNREADABLE as error:
            reason = f"no DICOM data set ({type(error).__name__})"
            raise Rejection("unreadable", reason, uid) from error


def _sources(headers: Sequence[InstanceHeader], read: Mapping[str, _Read]) -> Sources:
    return Sources(
        sources=(tuple(_source(header) for header in headers),),
        missing=(),
        missing_fraction=0.0,
        headers={uid: _without_bulk(one.dataset) for uid, one in read.items()},
        digests={uid: one.digest for uid, one in read.items()},
    )


def _source(header: InstanceHeader) -> FrameSource:
    return FrameSource(
        sop_instance_uid=header.sop_instance_uid,
        sop_class_uid=header.sop_class_uid,
        series_instance_uid=header.series_instance_uid,
        frame_number=None,
        trigger_time_ms=0.0,
    )


def _without_bulk(dataset: Dataset) -> Dataset:
    """Drop pixels, waveforms and documents, and the buffer of the whole file that pydicom keeps."""
    for keyword in _BULK:
        if keyword in dataset:
            del dataset[keyword]
    dataset.buffer = None
    return dataset
