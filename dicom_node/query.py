"""The node as Query SCU: how many instances an archive says a series has."""

import time
from collections.abc import Sequence
from io import BytesIO

import structlog
from pydicom.config import IGNORE
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset
from pydicom.uid import UID, ExplicitVRLittleEndian, ImplicitVRLittleEndian, generate_uid
from pynetdicom.dimse_primitives import C_FIND
from pynetdicom.dsutils import decode, encode
from pynetdicom.presentation import build_context
from pynetdicom.sop_class import (  # type: ignore[attr-defined]
    StudyRootQueryRetrieveInformationModelFind,
)

from config.schema import NodeSettings, PeerSettings
from dicom_node.errors import PeerUnavailable
from dicom_node.peer import PeerAddress, open_association

log = structlog.get_logger()

_DEFAULTS = NodeSettings()
_FIND = StudyRootQueryRetrieveInformationModelFind
_SLOW_S = 2.0
_SYNTAXES = (ExplicitVRLittleEndian, ImplicitVRLittleEndian)


def count_series_instances(
    peer: PeerSettings,
    calling_ae_title: str,
    study_instance_uid: str,
    series_instance_uid: str,
    settings: NodeSettings = _DEFAULTS,
) -> int | None:
    """Ask a peer for Number of Series Related Instances (Study Root C-FIND, PS3.4 C.6.2).

    Parameters
    ----------
    peer : PeerSettings
        Asked at `query_host` and `query_port`; without them nobody is.
    calling_ae_title : str
        How the node presents itself.
    study_instance_uid, series_instance_uid : str
        The series.
    settings : NodeSettings, optional
        Time-outs.

    Returns
    -------
    int or None
        None when the peer has no such series, does not count, answers
        what cannot be read, or cannot be asked now (both logged).
    """
    if peer.query_host is None or peer.query_port is None:
        return None
    address = PeerAddress(peer.ae_title, peer.query_host, peer.query_port)
    identifier = _identifier(study_instance_uid, series_instance_uid)
    try:
        matches = _find(address, calling_ae_title, identifier, settings)
        counts = [_count(match, series_instance_uid) for match in matches]
    except PeerUnavailable as error:
        log.warning("query failed", peer=str(address), reason=str(error))
        return None
    except Exception as error:  # noqa: BLE001 - whatever a peer answers, the series goes on
        log.warning("query answer not understood", peer=str(address), error=type(error).__name__)
        return None
    return max((count for count in counts if count is not None), default=None)


def try_query(peer: PeerSettings, settings: NodeSettings) -> PeerAddress | None:
    """Ask a peer for a series that nobody has, as `count_series_instances` does.

    Returns
    -------
    PeerAddress or None
        Who answered; None where the peer is not to be asked.

    Raises
    ------
    PeerUnavailable
        No association, C-FIND is not accepted or fails, or the answer cannot be understood.
    """
    if peer.query_host is None or peer.query_port is None:
        return None
    address = PeerAddress(peer.ae_title, peer.query_host, peer.query_port)
    nobody = generate_uid()
    try:
        _find(address, settings.ae_title, _identifier(nobody, nobody), settings)
    except PeerUnavailable:
        raise
    except Exception as error:  # whatever a peer answers
        kind = type(error).__name__
        raise PeerUnavailable(f"{address}: its answer is not understood ({kind})") from error
    return address


class ArchiveCounts:
    """Asks the peers that can be queried, in their order; the sweep waits meanwhile.

    Time-outs are short, and a peer that took long is left alone for a while: a hanging archive
    must not hold up the studies. Without an answer the other rules of completion hold.

    Parameters
    ----------
    peers : sequence of PeerSettings
        Those without a query address are not asked.
    settings : NodeSettings
        How the node presents itself.
    rest_s : float, optional
        How long a slow peer is left alone.
    """

    def __init__(
        self, peers: Sequence[PeerSettings], settings: NodeSettings, rest_s: float = 60.0
    ) -> None:
        self._peers = [peer for peer in peers if peer.query_host is not None]
        self._settings = settings.model_copy(
            update={"acse_timeout_s": 5.0, "dimse_timeout_s": 5.0, "network_timeout_s": 5.0}
        )
        self._rest_s = rest_s
        self._rests_until: dict[str, float] = {}

    def __call__(self, study_instance_uid: str, series_instance_uid: str) -> int | None:
        """Return how many instances the first peer that knows the series says it has."""
        for peer in self._peers:
            if time.monotonic() < self._rests_until.get(peer.ae_title, 0.0):
                continue
            started = time.monotonic()
            count = count_series_instances(
                peer,
                self._settings.ae_title,
                study_instance_uid,
                series_instance_uid,
                self._settings,
            )
            if time.monotonic() - started > _SLOW_S:
                self._rests_until[peer.ae_title] = time.monotonic() + self._rest_s
                log.warning("slow to query: left alone", peer=peer.ae_title, for_s=self._rest_s)
            if count is not None:
                return count
        return None


def _identifier(study_instance_uid: str, series_instance_uid: str) -> Dataset:
    identifier = Dataset()
    identifier.QueryRetrieveLevel = "SERIES"
    # Real UIDs have components with leading zeros, which pydicom would not take.
    for keyword, uid in (
        ("StudyInstanceUID", study_instance_uid),
        ("SeriesInstanceUID", series_instance_uid),
    ):
        identifier.add(DataElement(keyword, "UI", uid, validation_mode=IGNORE))
    identifier.NumberOfSeriesRelatedInstances = None
    return identifier


def _find(
    address: PeerAddress, calling_ae_title: str, identifier: Dataset, settings: NodeSettings
) -> list[Dataset]:
    contexts = [build_context(_FIND, syntax) for syntax in _SYNTAXES]
    with open_association(address, calling_ae_title, contexts, settings) as association:
        (_, syntax), context_id = next(iter(association.accepted.items()))
        request = C_FIND()
        request.MessageID = 1
        request.AffectedSOPClassUID = _FIND
        request.Priority = 0
        implicit = UID(syntax).is_implicit_VR
        request.Identifier = BytesIO(encode(identifier, implicit, True) or b"")
        answers = list(association.ask(request, context_id))
    if answers[-1].status != 0:
        raise PeerUnavailable(f"{address}: C-FIND failed with 0x{answers[-1].status:04X}")
    return [decode(BytesIO(match.data_set), implicit, True) for match in answers if match.data_set]


def _count(match: Dataset, series_instance_uid: str) -> int | None:
    if match.get("SeriesInstanceUID") != series_instance_uid:
        return None
    number = match.get("NumberOfSeriesRelatedInstances")
    return int(number) if number not in (None, "") else None
