"""What receiving and sending share: identity, presentation contexts, sockets, library settings."""

import socket
import time
from collections.abc import Iterable, Mapping
from functools import partial

import structlog
from pydicom.config import IGNORE
from pydicom.config import settings as pydicom_settings
from pydicom.uid import (
    JPEG2000,
    UID,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGLossless,
    JPEGLosslessSV1,
    JPEGLSLossless,
    JPEGLSNearLossless,
    RLELossless,
)
from pynetdicom import AE, _config, evt
from pynetdicom.presentation import PresentationContext, build_context
from pynetdicom.sop_class import (  # type: ignore[attr-defined]
    BasicTextSRStorage,
    Comprehensive3DSRStorage,
    ComprehensiveSRStorage,
    EncapsulatedPDFStorage,
    EnhancedMRImageStorage,
    EnhancedSRStorage,
    General32bitECGWaveformStorage,
    GeneralECGWaveformStorage,
    GrayscaleSoftcopyPresentationStateStorage,
    KeyObjectSelectionDocumentStorage,
    MRImageStorage,
    MultiFrameGrayscaleByteSecondaryCaptureImageStorage,
    MultiFrameGrayscaleWordSecondaryCaptureImageStorage,
    MultiFrameTrueColorSecondaryCaptureImageStorage,
    NuclearMedicineImageStorage,
    SecondaryCaptureImageStorage,
    SegmentationStorage,
    TwelveLeadECGWaveformStorage,
    Verification,
)

from config.schema import NodeSettings, PipelinesSettings
from config.version import SOFTWARE_VERSION
from pipeline.results.common import IMPLEMENTATION_CLASS_UID

log = structlog.get_logger()

IMPLEMENTATION_VERSION_NAME = f"DICOMNODE_{SOFTWARE_VERSION}"[:16]

# Twice the longest that the settings allow: some senders count headers to it, and what opens an
# association is not bound by it.
_LONGEST_PDU = 2 * 1_048_576

# In order of preference: of several syntaxes offered in one context the first of these is accepted.
TRANSFER_SYNTAXES = (
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    DeflatedExplicitVRLittleEndian,
    JPEGLosslessSV1,
    JPEGLossless,
    JPEGLSLossless,
    JPEG2000Lossless,
    RLELossless,
    JPEGLSNearLossless,
    JPEG2000,
)

# What pipelines read, and what scanners push beside it or an archive sends back: the latter is
# stored, so that whoever sends a whole study gets success for all of it, and never routed.
STORED_SOP_CLASSES = (
    MRImageStorage,
    EnhancedMRImageStorage,
    SegmentationStorage,
    BasicTextSRStorage,
    EnhancedSRStorage,
    ComprehensiveSRStorage,
    Comprehensive3DSRStorage,
    SecondaryCaptureImageStorage,
    MultiFrameGrayscaleByteSecondaryCaptureImageStorage,
    MultiFrameGrayscaleWordSecondaryCaptureImageStorage,
    MultiFrameTrueColorSecondaryCaptureImageStorage,
    EncapsulatedPDFStorage,
    GrayscaleSoftcopyPresentationStateStorage,
    KeyObjectSelectionDocumentStorage,
)

# What only these pipelines read; accepted where they are enabled.
_OF_PIPELINE: Mapping[str, tuple[str, ...]] = {
    "ecg": (
        TwelveLeadECGWaveformStorage,
        GeneralECGWaveformStorage,
        General32bitECGWaveformStorage,
    ),
    "spect": (NuclearMedicineImageStorage,),
}

# pynetdicom reads this at run time. Its event log costs receiving speed, and names patients.
_config.LOG_HANDLER_LEVEL = "none"

# pynetdicom decodes command sets with pydicom in threads of its own, where each UID with a leading
# zero (scanners write them) would draw a warning. What must hold for UIDs is checked on receipt.
pydicom_settings.reading_validation_mode = IGNORE


def accepted_sop_classes(pipelines: PipelinesSettings) -> tuple[str, ...]:
    """Storage SOP classes that the node accepts with these pipelines."""
    enabled = (
        classes for name, classes in _OF_PIPELINE.items() if getattr(pipelines, name).enabled
    )
    return (*STORED_SOP_CLASSES, *(uid for classes in enabled for uid in classes))


def application_entity(ae_title: str, settings: NodeSettings) -> AE:
    """Make an application entity with our identity and the time-outs of the settings."""
    entity = AE(ae_title)
    entity.implementation_class_uid = UID(IMPLEMENTATION_CLASS_UID)
    entity.implementation_version_name = IMPLEMENTATION_VERSION_NAME
    entity.maximum_pdu_size = settings.max_pdu_bytes
    entity.acse_timeout = settings.acse_timeout_s
    entity.connection_timeout = settings.acse_timeout_s
    entity.dimse_timeout = settings.dimse_timeout_s
    entity.network_timeout = settings.network_timeout_s
    return entity


def stored_contexts(sop_classes: Iterable[str] = STORED_SOP_CLASSES) -> list[PresentationContext]:
    """Presentation contexts that the node accepts: verification, and storage of `sop_classes`."""
    verification = build_context(Verification, list(TRANSFER_SYNTAXES[:2]))
    return [verification, *(build_context(uid, list(TRANSFER_SYNTAXES)) for uid in sop_classes)]


def tune_socket(event: evt.Event) -> None:
    """Set up the socket of an association that was just connected, in either direction.

    Without TCP_NODELAY each C-STORE waits about 40 ms for an acknowledgement that the peer delays.
    Without limits a peer that stalls within a PDU blocks a thread for ever, and one that announces
    a PDU of gigabytes fills the memory.
    """
    wrapper = event.assoc.dul.socket
    connection = wrapper.socket if wrapper else None
    if connection is None:
        return
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    limit_s = event.assoc.network_timeout
    connection.settimeout(limit_s)
    if wrapper and limit_s:  # in place of its own, which heeds no limit
        wrapper.recv = partial(_receive, connection, limit_s)  # type: ignore[method-assign]
    # pynetdicom leaves a socket open when the peer closed it first.
    event.assoc.bind(evt.EVT_CONN_CLOSE, lambda _, done: done.close(), [connection])


def _receive(connection: socket.socket, limit_s: float, count: int) -> bytearray:
    """Read `count` bytes of a PDU within `limit_s` in all; fewer where the connection ends.

    Raises
    ------
    OSError
        The PDU is too long, or comes too slowly: pynetdicom takes the connection for lost.
    """
    if count > _LONGEST_PDU:
        log.warning("PDU refused: longer than any that the node accepts", announced_bytes=count)
        raise OSError("PDU too long")
    received = bytearray()
    deadline = time.monotonic() + limit_s
    while len(received) < count:
        if time.monotonic() > deadline:
            raise TimeoutError("PDU too slow")
        piece = connection.recv(min(count - len(received), 65_536))
        if not piece:
            break
        received += piece
    return received
