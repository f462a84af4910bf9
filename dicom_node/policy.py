"""Who may open an association to the node. Pure decisions; codes of PS3.8 section 9.3.4."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from ipaddress import IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

from config.schema import NodeSettings, PeerSettings


@dataclass(frozen=True, slots=True)
class AssociationRequest:
    """What a peer says of itself, and how many associations are open beside it."""

    calling_ae_title: str
    called_ae_title: str
    address: str
    open_associations: int


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why an association is rejected: result, source and diagnostic of A-ASSOCIATE-RJ."""

    result: int
    source: int
    diagnostic: int
    reason: str


CALLED_AE_TITLE_UNKNOWN = Refusal(1, 1, 7, "called AE title is not ours")
CALLING_AE_TITLE_UNKNOWN = Refusal(1, 1, 3, "calling AE title is not among the peers")
ADDRESS_UNKNOWN = Refusal(1, 1, 3, "address is not one of this peer")
INCOMPLETE_CONTEXT = Refusal(
    1, 1, 1, "a presentation context lacks its abstract or transfer syntax"
)
EVEN_CONTEXT_ID = Refusal(1, 1, 1, "a presentation context has an even id (PS3.8 9.3.2.2)")
TOO_MANY_ASSOCIATIONS = Refusal(2, 3, 2, "too many associations are open")
STOPPING = Refusal(2, 3, 1, "the node is stopping")
FAULT = Refusal(2, 2, 1, "a fault in the node")


class AssociationPolicy:
    """The allow-list and limits of one node.

    Parameters
    ----------
    settings : NodeSettings
        AE title, whether it is checked, whether unknown peers are accepted, most associations.
    peers : sequence of PeerSettings
        An AE title may stand several times, with other addresses; without addresses any will do.
    """

    def __init__(self, settings: NodeSettings, peers: Sequence[PeerSettings]) -> None:
        self._settings = settings
        self._networks: dict[str, list[tuple[IPv4Network | IPv6Network, ...]]] = {}
        for peer in peers:
            networks = tuple(ip_network(address, strict=False) for address in peer.addresses)
            self._networks.setdefault(peer.ae_title, []).append(networks)

    def decide(self, request: AssociationRequest) -> Refusal | None:
        """Return why the association is rejected, or None when it is admitted."""
        settings = self._settings
        if settings.check_called_ae_title and request.called_ae_title != settings.ae_title:
            titles = f"'{request.called_ae_title}' instead of '{settings.ae_title}'"
            reason = f"{CALLED_AE_TITLE_UNKNOWN.reason}: {titles}"
            return replace(CALLED_AE_TITLE_UNKNOWN, reason=reason)
        unknown = None if settings.accept_unknown_peers else self._unknown(request)
        if unknown:
            return unknown
        if request.open_associations >= settings.max_associations:
            return TOO_MANY_ASSOCIATIONS
        return None

    def _unknown(self, request: AssociationRequest) -> Refusal | None:
        entries = self._networks.get(request.calling_ae_title)
        if entries is None:
            return CALLING_AE_TITLE_UNKNOWN
        if not any(_covers(networks, request.address) for networks in entries):
            return ADDRESS_UNKNOWN
        return None


def _covers(networks: tuple[IPv4Network | IPv6Network, ...], address: str) -> bool:
    if not networks:
        return True
    parsed = ip_address(address.partition("%")[0])
    if isinstance(parsed, IPv6Address) and parsed.ipv4_mapped:
        parsed = parsed.ipv4_mapped
    return any(parsed in network for network in networks)
