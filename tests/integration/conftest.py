"""Fixtures of real DICOM peers; what they are stands in `peers.py`."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from config.schema import NodeSettings, PeerSettings
from dicom_node.peer import PeerAddress
from dicom_node.receive import Receiver
from tests.integration.peers import ENCODINGS, MemorySink, Orthanc, free_port, mr_instance, save

StartReceiver = Callable[..., Receiver]


@pytest.fixture(scope="session")
def orthanc(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Orthanc]:
    """A running Orthanc, shared: tests use UIDs of their own."""
    peer = Orthanc(tmp_path_factory.mktemp("orthanc"))
    peer.start()
    yield peer
    peer.stop()


@pytest.fixture(scope="session")
def encoded_files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """One MR image in each transfer syntax that the node accepts."""
    files = {}
    for transfer_syntax, (convert, _) in ENCODINGS.items():
        folder = tmp_path_factory.mktemp("encoded")
        source = save(mr_instance(), folder / "source")
        files[transfer_syntax] = folder / source.name
        convert(source, files[transfer_syntax])
    return files


@pytest.fixture
def sink() -> MemorySink:
    return MemorySink()


@pytest.fixture
def start_receiver(sink: MemorySink) -> Iterator[StartReceiver]:
    """Start receivers into `sink`, by default open to all; the port is `receiver_address(...)`."""
    running: list[Receiver] = []

    def start(
        address: PeerAddress, peers: Sequence[PeerSettings] = (), **settings: object
    ) -> Receiver:
        given = {"accept_unknown_peers": True, **settings}
        node = NodeSettings(
            ae_title=address.ae_title, host=address.host, port=address.port, **given
        )
        receiver = Receiver(node, peers, sink)
        receiver.start()
        running.append(receiver)
        return receiver

    yield start
    for receiver in running:
        receiver.stop(drain_s=1)


@pytest.fixture
def node(start_receiver: StartReceiver) -> PeerAddress:
    """Address of a running receiver that is open to all."""
    address = PeerAddress("CARDIACCAD", "127.0.0.1", free_port())
    start_receiver(address)
    return address
