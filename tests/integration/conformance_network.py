"""Tables of the conformance statement about the network, as seen on the wire and in the code."""

import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pynetdicom.sop_class
from pydicom.uid import UID, AllTransferSyntaxes, ExplicitVRLittleEndian
from pynetdicom import AE, AllStoragePresentationContexts, evt
from pynetdicom.presentation import PresentationContext, build_context

from config.schema import NodeSettings, PeerSettings, PipelinesSettings
from dicom_node import dimse, policy
from dicom_node.network import STORED_SOP_CLASSES, TRANSFER_SYNTAXES, accepted_sop_classes
from dicom_node.peer import PeerAddress, echo, open_association
from dicom_node.policy import Refusal
from dicom_node.query import count_series_instances
from dicom_node.receive import Receiver
from dicom_node.send import send_files
from tests.integration.peers import MemorySink, free_port

DEFAULTS = Path(__file__).parents[2] / "config" / "default.toml"
Context = tuple[str, str]
_MOST_CONTEXTS = 128  # of one association, PS3.8 9.3.2.2

# What each status that the node answers stands for; a new one has to be explained here.
_ANSWERS = {
    "SUCCESS": "The instance, and the knowledge of it, would survive a power cut.",
    "SOP_CLASS_NOT_SUPPORTED": "The SOP class is not that of the presentation context.",
    "OUT_OF_RESOURCES": "Too little disk space is free, or the disk or the database fails. The "
    "same instance may be sent again later.",
    "DATA_SET_MISMATCH": "SOP Class UID or SOP Instance UID of the data set is not that of the "
    "command.",
    "CANNOT_UNDERSTAND": "The data set cannot be read, lacks one of the four UIDs of its "
    "hierarchy, or the node has a fault; the Error Comment says which.",
}


def table(heads: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A Markdown table."""
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join(
        "| " + " | ".join(str(cell).replace("|", r"\|") for cell in line) + " |" for line in lines
    )


def accepted() -> str:
    """SOP classes that a running receiver accepts, each with its transfer syntaxes."""
    found: dict[str, list[str]] = {}
    with _receiver() as node:
        classes = [cls for cls, _ in _accepted_of(node, _everything())]
        contexts = [build_context(cls, uid) for cls in classes for uid in AllTransferSyntaxes]
        for cls, syntax in _accepted_of(node, contexts):
            found.setdefault(cls, []).append(syntax)
    rows = []
    for cls, syntaxes in found.items():
        assert set(syntaxes) <= set(TRANSFER_SYNTAXES)
        ranks = sorted(TRANSFER_SYNTAXES.index(UID(uid)) + 1 for uid in syntaxes)
        shown = f"1 to {len(ranks)}" if ranks == [*range(1, len(ranks) + 1)] else ranks
        rows.append((UID(cls).name, cls, shown))
    return table(("SOP class", "UID", "Transfer syntaxes"), rows)


def accepted_for_research() -> str:
    """SOP classes that the node accepts beside these where a pipeline is enabled."""
    rows = []
    for name in ("ecg", "spect"):
        pipelines = PipelinesSettings.model_validate({name: {"enabled": True}})
        more = accepted_sop_classes(pipelines)[len(STORED_SOP_CLASSES) :]
        rows += [(f"`[pipelines.{name}]`", UID(uid).name, uid) for uid in more]
    return table(("Enabled", "SOP class", "UID"), rows)


def transfer_syntaxes() -> str:
    """Transfer syntaxes that the node accepts, in order of preference."""
    rows = [(rank, UID(uid).name, uid) for rank, uid in enumerate(TRANSFER_SYNTAXES, start=1)]
    return table(("Preference", "Transfer syntax", "UID"), rows)


def proposed(results: Sequence[Path]) -> str:
    """Presentation contexts that the node proposes to a peer, by what it does there."""
    with _peer() as (address, seen):
        echo(address, "CARDIACCAD")
        verified = [context for context in seen if context[0] == UID("1.2.840.10008.1.1")]
        seen.clear()
        peer = PeerSettings(
            ae_title=address.ae_title, query_host=address.host, query_port=address.port
        )
        count_series_instances(peer, "CARDIACCAD", "1.2", "1.2.3")
        asked = [*seen]
        seen.clear()
        send_files(address, results, lambda _: None, calling_ae_title="CARDIACCAD")
        sent = [*seen]
    rows = [
        (activity, UID(cls).name, cls, UID(syntax).name)
        for activity, contexts in (
            ("Checks a peer (`doctor`)", verified),
            ("Asks how many images a series has", asked),
            ("Returns results", sent),
        )
        for cls, syntax in dict.fromkeys(contexts)
    ]
    return table(("Activity", "SOP class", "UID", "Transfer syntax"), rows)


def rejections() -> str:
    """Why the node rejects an association."""
    found = [item for item in vars(policy).values() if isinstance(item, Refusal)]
    rows = [(item.reason, item.result, item.source, item.diagnostic) for item in found]
    return table(("Reason", "Result", "Source", "Diagnostic"), rows)


def statuses() -> str:
    """What the node answers to C-STORE."""
    codes = {name: code for name, code in vars(dimse).items() if name.isupper()}
    codes = {name: code for name, code in codes.items() if isinstance(code, int)}
    rows = [(f"0x{code:04X}", _ANSWERS[name]) for name, code in codes.items()]
    return table(("Status", "Meaning"), rows)


def settings(section: str) -> str:
    """Keys of a section of the default configuration, as they are explained there."""
    text = DEFAULTS.read_text(encoding="utf-8")
    (found,) = re.findall(rf"^\[{re.escape(section)}\].*?\n(.*?)(?:\n\n|\Z)", text, re.M | re.S)
    rows = []
    for line in found.splitlines():
        key, value, words = re.fullmatch(r"(\w+) = (.*?)\s*# (.*)", line).groups()
        rows.append((f"`{key}`", value, words))
    return table(("Key", "Default", "Meaning"), rows)


def _everything() -> list[PresentationContext]:
    """Every service that pynetdicom knows, in the syntax that all must accept."""
    services = {
        str(uid)
        for name, uid in vars(pynetdicom.sop_class).items()
        if isinstance(uid, UID) and not name.startswith("_")
    }
    services |= {str(context.abstract_syntax) for context in AllStoragePresentationContexts}
    return [build_context(uid, ExplicitVRLittleEndian) for uid in sorted(services)]


def _accepted_of(node: PeerAddress, contexts: Sequence[PresentationContext]) -> list[Context]:
    found: list[Context] = []
    verification = build_context("1.2.840.10008.1.1")  # so that no association is in vain
    for first in range(0, len(contexts), _MOST_CONTEXTS - 1):
        some = contexts[first : first + _MOST_CONTEXTS - 1]
        with open_association(node, "TEST", [*some, verification]) as association:
            asked = {(c.abstract_syntax, c.transfer_syntax[0]) for c in some}
            found += [context for context in association.accepted if context in asked]
    return sorted(found)


@contextmanager
def _receiver() -> Iterator[PeerAddress]:
    """A receiver as `serve` makes it, open to all."""
    address = PeerAddress("CARDIACCAD", "127.0.0.1", free_port())
    receiver = Receiver(
        NodeSettings(host=address.host, port=address.port, accept_unknown_peers=True),
        (),
        MemorySink(),
    )
    receiver.start()
    try:
        yield address
    finally:
        receiver.stop(drain_s=1)


@contextmanager
def _peer() -> Iterator[tuple[PeerAddress, list[Context]]]:
    """A peer that accepts all and notes what was proposed to it."""
    seen: list[Context] = []

    def note(event: evt.Event) -> None:
        for context in event.assoc.requestor.requested_contexts:
            seen.extend((str(context.abstract_syntax), str(s)) for s in context.transfer_syntax)

    entity = AE("PEER")
    entity.supported_contexts = []
    for context in _everything():
        entity.add_supported_context(context.abstract_syntax, AllTransferSyntaxes)
    handlers = [
        (evt.EVT_REQUESTED, note),
        (evt.EVT_C_STORE, lambda _: 0x0000),
        (evt.EVT_C_FIND, lambda _: iter([(0x0000, None)])),
    ]
    address = PeerAddress("PEER", "127.0.0.1", free_port())
    server = entity.start_server((address.host, address.port), block=False, evt_handlers=handlers)
    try:
        yield address, seen
    finally:
        server.shutdown()
