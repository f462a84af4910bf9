"""Which instances that are no stack form a case, from headers alone: ECGs and perfusion SPECT.

An ECG, be it a waveform, the picture of a sheet or a document with one, is a case by itself. The
tomograms of stress and rest of one study are one case together; a secondary capture of a perfusion
display is one by itself.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence

from config.schema import RouteSettings
from pipeline.headers import InstanceHeader
from pipeline.views import VIEWS

ECG = "ecg"
SPECT = "spect"
PICTURE_PIPELINES = (ECG, SPECT)
"""Pipelines whose cases are no stacks."""

NM_IMAGE = "1.2.840.10008.5.1.4.1.1.20"
ECG_WAVEFORMS = tuple(f"1.2.840.10008.5.1.4.1.1.9.1.{kind}" for kind in (1, 2, 4))
"""12-lead ECG, General ECG and General 32-bit ECG Waveform Storage."""
SECONDARY_CAPTURES = (
    "1.2.840.10008.5.1.4.1.1.7",
    *(f"1.2.840.10008.5.1.4.1.1.7.{kind}" for kind in (1, 2, 3, 4)),
)
ENCAPSULATED_PDF = "1.2.840.10008.5.1.4.1.1.104.1"
SOP_CLASSES: Mapping[str, frozenset[str]] = {
    ECG: frozenset({*ECG_WAVEFORMS, *SECONDARY_CAPTURES, ENCAPSULATED_PDF}),
    SPECT: frozenset({NM_IMAGE, *SECONDARY_CAPTURES}),
}
"""What each of these pipelines reads."""

# "EKG study", "12 lead EKG panel", and the title of ECG reports (PS3.16 TID 3700).
_ECG_DOCUMENTS = frozenset({"LN:11524-6", "LN:34534-8", "LN:28010-7"})
# Third value of ImageType (PS3.3 C.8.4.9.1.1); projections are other things.
_RECONSTRUCTED = frozenset({"RECON TOMO", "RECON GATED TOMO"})


def why_no_picture(route: RouteSettings, header: InstanceHeader) -> str | None:
    """Why an instance that a route takes is none of its pipeline; None when it is."""
    if route.pipeline == ECG and header.document_code.startswith("LN:"):
        other = "the code of the document is that of something else than an ECG"
        return None if is_coded_ecg(header) else other
    if route.pipeline != SPECT:
        return None
    if header.sop_class_uid in SECONDARY_CAPTURES and not route.series_description:
        return "a secondary capture needs a route that asks for its description"
    if header.sop_class_uid == NM_IMAGE:
        if _RECONSTRUCTED.isdisjoint(header.image_type):
            return "no reconstructed tomogram (ImageType RECON TOMO)"
        if not header.view:
            return "nothing in it says stress or rest"
    return None


def is_coded_ecg(header: InstanceHeader) -> bool:
    """Whether the code of a document says that it is an ECG."""
    return header.document_code in _ECG_DOCUMENTS


def cases(
    pipeline: str, headers: Iterable[InstanceHeader]
) -> list[tuple[str, tuple[InstanceHeader, ...]]]:
    """Group instances that one of these pipelines takes.

    Returns
    -------
    list of (str, tuple of InstanceHeader)
        Of each case what it is, in words, and its instances.
    """
    together: defaultdict[tuple[str, str], list[InstanceHeader]] = defaultdict(list)
    found = []
    for header in headers:
        if header.sop_class_uid == NM_IMAGE:
            together[header.study_instance_uid, header.patient_id].append(header)
        else:
            found.append((_what(pipeline, header), (header,)))
    return [*found, *((_views(group), tuple(group)) for group in together.values())]


def is_whole(headers: Sequence[InstanceHeader]) -> bool:
    """Whether nothing more can be expected of a case: an ECG at once, tomograms of both views."""
    tomograms = [header for header in headers if header.sop_class_uid == NM_IMAGE]
    return not tomograms or {header.view for header in tomograms} >= {*VIEWS}


def _what(pipeline: str, header: InstanceHeader) -> str:
    if header.sop_class_uid in ECG_WAVEFORMS:
        return "an ECG waveform by itself"
    if header.sop_class_uid == ENCAPSULATED_PDF:
        return "an encapsulated PDF called an ECG"
    return f"a secondary capture called {'an ECG' if pipeline == ECG else 'SPECT'}"


def _views(headers: Sequence[InstanceHeader]) -> str:
    there = {header.view for header in headers}
    stated = [view for view in VIEWS if view in there]
    return f"perfusion tomograms: {' and '.join(stated)}{'' if len(stated) > 1 else ' only'}"
