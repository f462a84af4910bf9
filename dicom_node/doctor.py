"""`dicom-node doctor`: examine whether everything the node needs stands ready."""

import os
import re
import shutil
import socket
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from rich.console import Console
from rich.markup import escape

from config.errors import NodeError
from config.schema import DestinationSettings, Profile, Settings
from dicom_node.errors import PeerUnavailable
from dicom_node.peer import PeerAddress, echo
from dicom_node.query import try_query
from dicom_node.serve import verified
from storage.errors import StorageInUse, StorageUnusable
from storage.folder import DataFolder

RESULT_CLASSES = {
    "1.2.840.10008.5.1.4.1.1.66.4": "Segmentation",
    "1.2.840.10008.5.1.4.1.1.88.34": "Comprehensive 3D SR",
    "1.2.840.10008.5.1.4.1.1.4": "MR Image",
    "1.2.840.10008.5.1.4.1.1.7": "Secondary Capture",
    "1.2.840.10008.5.1.4.1.1.104.1": "Encapsulated PDF",
}
_OF_PROFILE: Mapping[Profile, tuple[str, ...]] = {
    "full": ("Segmentation", "Comprehensive 3D SR"),
    "display": ("Segmentation", "Comprehensive 3D SR", "MR Image", "Encapsulated PDF"),
    "legacy": ("Secondary Capture", "Encapsulated PDF"),
}

_CONNECT_TIMEOUT_S = 5.0
_SERVED = "served by a running node"
_NOT_COMMERCIAL = re.compile(r"(?i)\bNC\b|non-?commercial")


@dataclass(frozen=True, slots=True)
class Check:
    """One line of the report; `ok` None is a remark that neither passes nor fails."""

    name: str
    ok: bool | None
    says: str


def examine(settings: Settings) -> bool:
    """Print one line per check; True when none fails.

    Parameters
    ----------
    settings : Settings
        They were read already, so the configuration itself is in order.
    """
    console = Console(soft_wrap=True)
    marks = {True: "[green]ok[/green]   ", False: "[red]FAIL[/red] ", None: "note "}
    passed = True
    for check in _checks(settings):
        passed = passed and check.ok is not False
        console.print(f"{marks[check.ok]} {check.name}: {escape(check.says)}", highlight=False)
    return passed


def _checks(settings: Settings) -> Iterator[Check]:
    yield Check("configuration", True, "read, every key known")
    if settings.allow_research_models:
        yield Check("research models", None, "allowed: networks that nobody validated may answer")
    yield from _site(settings)
    yield from _admission(settings)
    folder = _data_folder(settings)
    yield folder
    if folder.says != _SERVED:
        yield _port(settings)
    yield _disk(settings)
    yield from _queries(settings)
    if not settings.destinations:
        yield Check("destinations", None, "none: results stay in the data folder")
    for destination in settings.destinations:
        yield _destination(destination, settings)
    yield from _networks(settings)


def _site(settings: Settings) -> Iterator[Check]:
    site = settings.site
    if not site.institution:
        yield Check("site", None, "site.institution is empty: the results name no institution")
    if not site.station_name:
        yield Check("site", None, 'site.station_name is empty: the results say "unnamed"')


def _admission(settings: Settings) -> Iterator[Check]:
    if settings.node.accept_unknown_peers:
        yield Check("peers", None, "any peer may push (accept_unknown_peers)")
    elif not settings.peers:
        yield Check("peers", False, "nobody may push: give [[peers]]")
    else:
        titles = ", ".join(peer.ae_title for peer in settings.peers)
        yield Check("peers", True, f"may push: {titles}")


def _data_folder(settings: Settings) -> Check:
    """Check that the data folder can be written, by taking it for a moment; never make it.

    Root takes it as its owner: what root itself made there, the node could not use.
    """
    folder = settings.storage.folder
    if not folder.exists():
        parent = next(path for path in folder.absolute().parents if path.exists())
        if not os.access(parent, os.W_OK | os.X_OK):
            return Check("data folder", False, f"{folder} cannot be made: {parent} is not writable")
        return Check("data folder", None, f"{folder} will be made by the first serve")
    user = os.geteuid()
    try:
        if user == 0:
            os.seteuid(folder.stat().st_uid)
        DataFolder(settings.storage).close()
    except StorageInUse:
        return Check("data folder", True, _SERVED)
    except StorageUnusable as error:
        return Check("data folder", False, str(error))
    finally:
        os.seteuid(user)
    return Check("data folder", True, f"{folder} can be written, no node serves it")


def _port(settings: Settings) -> Check:
    node = settings.node
    try:
        with socket.create_server((node.host, node.port)):
            return Check("port", True, f"{node.host}:{node.port} is free")
    except OSError as error:
        return Check("port", False, f"{node.host}:{node.port}: {error.strerror}")


def _disk(settings: Settings) -> Check:
    folder = settings.storage.folder
    while not folder.exists():
        folder = folder.parent
    free = shutil.disk_usage(folder).free / 1e6
    enough = free >= settings.storage.warn_free_mb
    return Check(
        "disk", enough, f"{free:.0f} MB free, warned below {settings.storage.warn_free_mb:.0f}"
    )


def _destination(destination: DestinationSettings, settings: Settings) -> Check:
    name = f"destination {destination.name}"
    address = PeerAddress(destination.ae_title, destination.host, destination.port)
    calling = destination.calling_ae_title or settings.node.ae_title
    wanted = {words for profile in destination.profiles for words in _OF_PROFILE[profile]}
    classes = tuple(uid for uid, words in RESULT_CLASSES.items() if words in wanted)
    try:
        answer = echo(address, calling, classes, settings.node)
    except PeerUnavailable as error:
        reason = _why_unreachable(destination.host, destination.port)
        return Check(name, False, f"{error}{reason}")
    refused = [RESULT_CLASSES[uid] for uid in answer.refused]
    if refused:
        return Check(name, False, f"{address} answers but refuses {', '.join(refused)}")
    accepted = ", ".join(RESULT_CLASSES[uid] for uid in answer.accepted)
    return Check(name, answer.status == 0, f"{address} answers C-ECHO, accepts {accepted}")


def _queries(settings: Settings) -> Iterator[Check]:
    """Check the peers that are asked how many images a series has."""
    for peer in settings.peers:
        name = f"query of {peer.ae_title}"
        try:
            address = try_query(peer, settings.node)
        except PeerUnavailable as error:
            reason = _why_unreachable(peer.query_host or "", peer.query_port or 0)
            yield Check(name, False, f"{error}{reason}")
        else:
            if address is not None:
                yield Check(name, True, f"{address} answers C-FIND")


def _why_unreachable(host: str, port: int) -> str:
    """What the network says of an address; nothing where a connection can be made."""
    try:
        socket.create_connection((host, port), _CONNECT_TIMEOUT_S).close()
    except OSError as error:
        return f" ({error.strerror or error})"
    return ""


def _networks(settings: Settings) -> Iterator[Check]:
    from models.backend import choose_backend

    try:
        backend = choose_backend(settings.worker.device, settings.worker.precision)
        yield Check("device", True, f"{backend.device}, {backend.precision}")
    except NodeError as error:
        yield Check("device", False, str(error))
    not_commercial = []
    for network in settings.pipelines.networks:
        name = f"network {network.name}"
        try:
            card = verified(network, settings)
        except NodeError as error:
            yield Check(name, False, str(error))
        else:
            if _NOT_COMMERCIAL.search(card.licence):
                not_commercial.append(network.name)
            yield Check(
                name,
                True,
                f"for {network.task}, version {card.version}, weights {card.weights_sha256[:12]} "
                f"verified, licence {card.licence}",
            )
    if not_commercial:
        names = ", ".join(dict.fromkeys(not_commercial))
        yield Check("licences", None, f"for non-commercial use only: {names}")
