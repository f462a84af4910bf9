"""Fixtures of a running node and its archive, and its log beside each failure."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from tests.acceptance.node import Destination, RunningNode
from tests.integration.peers import Orthanc

StartNode = Callable[..., RunningNode]
_LOG_OF_NODES = pytest.StashKey[list[RunningNode]]()


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Orthanc]:
    """A running Orthanc, empty at the first test of a module."""
    peer = Orthanc(tmp_path_factory.mktemp("archive"))
    peer.start()
    yield peer
    peer.stop()


@pytest.fixture
def late_archive(tmp_path: Path) -> Iterator[Orthanc]:
    """An archive that is down until it is started."""
    peer = Orthanc(tmp_path / "archive")
    yield peer
    peer.stop()


@pytest.fixture(scope="module")
def node(archive: Orthanc, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningNode]:
    """A running node that sends to `archive`, shared by a module: studies of their own, please."""
    running = RunningNode(tmp_path_factory.mktemp("node"), [archive.address])
    running.start()
    yield running
    code = running.stop()
    assert code == 0, running.log_tail()


@pytest.fixture
def start_node(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[StartNode]:
    """Start nodes of one's own: ``start_node([destination], completion={"quiet_s": 2})``."""
    nodes: list[RunningNode] = []
    request.node.stash[_LOG_OF_NODES] = nodes

    def start(
        destinations: Sequence[Destination] = (), *, folder: str = "node", **tables: object
    ) -> RunningNode:
        running = RunningNode(tmp_path / folder, destinations, **tables)
        nodes.append(running)
        running.start()
        return running

    yield start
    for running in nodes:
        running.kill()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Iterator[None]:
    """Show the end of the log of every node of a test that fails."""
    report = yield
    if report.failed:
        nodes = list(item.stash.get(_LOG_OF_NODES, []))
        shared = getattr(item, "funcargs", {}).get("node")
        if isinstance(shared, RunningNode):
            nodes.append(shared)
        for number, running in enumerate(nodes, start=1):
            report.sections.append((f"log of node {number}", running.log_tail()))
    return report
