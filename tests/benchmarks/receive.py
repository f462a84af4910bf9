"""Stores per second of the node's receiver and storage beside DCMTK storescp, same sender."""

import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

from config.schema import NodeSettings, StorageSettings
from dicom_node.inbox import Inbox
from dicom_node.peer import PeerAddress
from dicom_node.phantom import write_cine_study
from dicom_node.receive import Receiver
from storage import open_storage
from tests.acceptance.node import storescu
from tests.integration.peers import ENVIRONMENT, free_port, listens, wait_until

ROUNDS = 3


def run() -> None:
    """Print stores per second with one and with four associations, and the ratio."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_cine_study(folder / "study", seed=1, rows=256, columns=256)
        files = sorted((folder / "study").glob("*.dcm"))
        print(f"{len(files)} MR instances of {files[0].stat().st_size} bytes, {ROUNDS} rounds")
        for associations in (1, 4):
            pairs = [
                (
                    _rate(_node, folder / f"node-{associations}-{number}", files, associations),
                    _rate(_storescp, folder / f"scp-{associations}-{number}", files, associations),
                )
                for number in range(ROUNDS)
            ]
            node, storescp = (statistics.median(rates) for rates in zip(*pairs, strict=True))
            ratio = statistics.median(ours / theirs for ours, theirs in pairs)
            print(
                f"{associations} association(s): node (file and record synced) {node:.0f}/s, "
                f"DCMTK storescp (no sync) {storescp:.0f}/s, ratio {ratio:.2f}"
            )


def _rate(
    server: Callable[[Path], AbstractContextManager[PeerAddress]],
    folder: Path,
    files: list[Path],
    associations: int,
) -> float:
    folder.mkdir()
    with server(folder) as address, ThreadPoolExecutor(associations) as pool:
        started = time.perf_counter()
        shares = [files[first::associations] for first in range(associations)]
        list(pool.map(lambda share: storescu(share, address), shares))
        return len(files) / (time.perf_counter() - started)


@contextmanager
def _node(folder: Path) -> Iterator[PeerAddress]:
    address = PeerAddress("CARDIACCAD", "127.0.0.1", free_port())
    settings = NodeSettings(
        ae_title=address.ae_title, host=address.host, port=address.port, accept_unknown_peers=True
    )
    storage = open_storage(StorageSettings(folder=folder, warn_free_mb=0, refuse_free_mb=0))
    receiver = Receiver(settings, (), Inbox(storage))
    receiver.start()
    try:
        yield address
    finally:
        receiver.stop()
        storage.close()


@contextmanager
def _storescp(folder: Path) -> Iterator[PeerAddress]:
    address = PeerAddress("STORESCP", "127.0.0.1", free_port())
    command = ["storescp", "--fork", "-aet", "STORESCP", "-od", folder, str(address.port)]
    process = subprocess.Popen([str(part) for part in command], env=ENVIRONMENT)
    try:
        wait_until(lambda: listens(address.port))
        yield address
    finally:
        process.terminate()
        process.wait()
