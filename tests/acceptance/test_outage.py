"""Archives that are away, refuse, or send everything back: results arrive, once, and elsewhere."""

import time
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

import pytest

from config.errors import TransientError
from config.schema import NodeSettings
from dicom_node.archive import Archive
from dicom_node.network import STORED_SOP_CLASSES
from dicom_node.peer import PeerAddress
from dicom_node.receive import ReceivedInstance, Receiver
from dicom_node.status import NodeStatus, OutboxStatus
from storage.states import StackState
from tests.acceptance.conftest import StartNode
from tests.acceptance.node import RunningNode, destination, routed, storescu
from tests.acceptance.studies import SEG, SR, TINY, Study, returned, small_study
from tests.integration.peers import MemorySink, Orthanc, free_port

ONE_THREAD = {"threads": 1}
DAY_S = 86_400
FIRST_DELAY_S, GIVE_UP_S = 1.0, 8.0


def outbox(status: NodeStatus, name: str) -> OutboxStatus:
    """Deliveries to one destination; all zero where there is none."""
    empty = OutboxStatus(
        destination=name, pending=0, sent=0, parked=0, dropped=0, oldest_pending_s=None,
        last_error="",
    )  # fmt: skip
    return next((box for box in status.outbox if box.destination == name), empty)


def test_archive_down_for_the_whole_run(start_node: StartNode, tmp_path: Path) -> None:
    archive = Orthanc(tmp_path / "archive")
    node = start_node([archive.address], completion={"quiet_s": 10.0}, worker=ONE_THREAD)
    study = small_study(tmp_path / "study", 200, **TINY)
    storescu(study.files, node.address)
    retried = "not delivered, will be tried again"
    waiting = node.wait_for(lambda _: len(node.log(retried)) >= 2)
    assert outbox(waiting, "archive").pending == 3
    assert "no connection" in outbox(waiting, "archive").last_error
    assert node.stop() == 0

    node.start()
    archive.start()
    try:
        node.wait_settled(study.uid)
        found = returned(archive, study.uid)
        assert sorted(item.SOPClassUID for item in found) == sorted([SEG, SEG, SR])
    finally:
        archive.stop()
    (delivered,) = node.log("delivered")
    assert (delivered["objects"], delivered["study_instance_uid"]) == (3, study.uid)
    assert len(node.log("job completed")) == 1


@pytest.mark.parametrize("watch_s", [30, pytest.param(60, marks=pytest.mark.campaign)])
def test_archive_that_sends_everything_to_the_node(
    watch_s: float, start_node: StartNode, tmp_path: Path
) -> None:
    """The archive routes to the node whatever it gets, be it from the scanner or the node."""
    address = PeerAddress("ARCHIVE", "127.0.0.1", free_port())
    node = start_node([address], completion={"quiet_s": 10.0}, worker=ONE_THREAD)
    study = small_study(tmp_path / "study", 201, **TINY)
    archive = Archive(address.ae_title, address.port, tmp_path / "archive", forward_to=node.address)
    archive.start()
    try:
        storescu(study.files, address)
        node.wait_settled(study.uid)
        node.wait_for(lambda status: came_back(status) == 3)
        time.sleep(watch_s)
    finally:
        archive.stop()

    assert len(list((tmp_path / "archive").glob("*.dcm"))) == len(study.files) + 3
    status = node.status()
    (stack,) = routed(status, study.uid)
    assert (stack.state, stack.generation) == (StackState.COMPLETED, 1)
    assert stack.instances == len(study.files)
    assert came_back(status) == 3
    assert (outbox(status, "archive").sent, outbox(status, "archive").pending) == (3, 0)
    assert len(node.log("job completed")) == 1
    received = sum(int(str(line["stored"])) for line in node.log("association released"))
    assert received == len(study.files) + 3


def came_back(status: NodeStatus) -> int:
    """How many of its own results the node got, and knew."""
    own = [item for item in status.stacks if "a result this node wrote" in item.reason]
    return sum(item.instances for item in own)


@dataclass
class Peer:
    """A Storage SCP of its own that may refuse SOP classes or fail at each instance."""

    name: str
    sop_classes: Sequence[str] = STORED_SOP_CLASSES
    fails: bool = False
    sink: MemorySink = field(default_factory=MemorySink)
    attempts: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    port: int = field(default_factory=free_port)

    @property
    def address(self) -> PeerAddress:
        return PeerAddress(self.name.upper(), "127.0.0.1", self.port)

    @contextmanager
    def listening(self) -> Iterator[None]:
        self.sink.on_store = self._take
        settings = NodeSettings(
            ae_title=self.address.ae_title, host="127.0.0.1", port=self.port,
            accept_unknown_peers=True,
        )  # fmt: skip
        receiver = Receiver(settings, (), self.sink, self.sop_classes)
        receiver.start()
        try:
            yield
        finally:
            receiver.stop(drain_s=1)

    def _take(self, instance: ReceivedInstance) -> None:
        self.attempts[instance.uids.sop_instance_uid].append(time.monotonic())
        if self.fails:
            raise TransientError("disk full")


@dataclass(frozen=True)
class Trouble:
    """One good destination among others, after a study of the scanner and one of a researcher."""

    node: RunningNode
    archive: Orthanc
    full: Peer
    without_seg: Peer
    research: Peer
    first: Study
    second: Study
    after_first: NodeStatus
    attempts_of_first: dict[str, list[float]]


@pytest.fixture(scope="module")
def trouble(archive: Orthanc, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Trouble]:
    folder = tmp_path_factory.mktemp("trouble")
    full = Peer("full", fails=True)
    without_seg = Peer("without-seg", [uid for uid in STORED_SOP_CLASSES if uid != SEG])
    research = Peer("research")
    impatient = {
        "retry_first_s": FIRST_DELAY_S, "retry_max_s": 60, "give_up_after_days": GIVE_UP_S / DAY_S,
    }  # fmt: skip
    node = RunningNode(
        folder / "node",
        [
            destination(full.address, full.name, **impatient),
            destination(without_seg.address, without_seg.name, **impatient),
            destination(research.address, research.name, source_ae_titles=["RESEARCHER"]),
            destination(archive.address, "archive"),
        ],
        completion={"quiet_s": 10.0},
        worker=ONE_THREAD,
    )
    first = small_study(folder / "first", 202, **TINY)
    second = small_study(folder / "second", 203, **TINY)
    with full.listening(), without_seg.listening(), research.listening():
        node.start()
        try:
            storescu(first.files, node.address)
            after_first = node.wait_for(
                lambda status: (
                    outbox(status, full.name).parked == 3
                    and outbox(status, without_seg.name).parked == 2
                )
            )
            attempts = {uid: list(times) for uid, times in full.attempts.items()}
            storescu(second.files, node.address, calling="RESEARCHER")
            node.wait_for(
                lambda status: (
                    outbox(status, "archive").sent == 6
                    and outbox(status, research.name).sent == 3
                    and outbox(status, full.name).parked == 6
                )
            )
            yield Trouble(
                node, archive, full, without_seg, research, first, second, after_first, attempts
            )
        finally:
            node.kill()


def test_a_failing_destination_is_tried_with_growing_delay_then_parked(trouble: Trouble) -> None:
    assert len(trouble.attempts_of_first) == 3
    for times in trouble.attempts_of_first.values():
        assert len(times) >= 3
        for number, (earlier, later) in enumerate(pairwise(times)):
            assert later - earlier >= FIRST_DELAY_S * 2**number
        assert times[-1] - times[0] <= GIVE_UP_S * 2.5
    box = outbox(trouble.after_first, trouble.full.name)
    assert (box.sent, box.pending) == (0, 0)
    assert "0xA700" in box.last_error


def test_what_is_parked_stands_in_the_log_by_study(trouble: Trouble) -> None:
    def told() -> Counter[object]:
        objects: Counter[object] = Counter()
        for line in trouble.node.log("delivery parked for the admin"):
            if line["destination"] == trouble.full.name:
                objects[line["study_instance_uid"]] += line["objects"]
        return objects

    # A batch is told once it has ended, a moment after the outbox shows its last object.
    trouble.node.wait_for(lambda _: told().total() >= 6, timeout_s=20)
    assert told() == {trouble.first.uid: 3, trouble.second.uid: 3}


def test_what_was_parked_is_left_in_peace(trouble: Trouble) -> None:
    for uid, times in trouble.attempts_of_first.items():
        assert trouble.full.attempts[uid] == times


def test_a_destination_that_takes_no_seg_gets_the_report(trouble: Trouble) -> None:
    box = outbox(trouble.after_first, trouble.without_seg.name)
    assert (box.sent, box.parked) == (1, 2)
    assert "accepted: Segmentation Storage" in box.last_error
    assert {item.uids.sop_class_uid for item in trouble.without_seg.sink.instances} == {SR}


def test_the_other_archive_got_everything(trouble: Trouble) -> None:
    for study in (trouble.first, trouble.second):
        found = returned(trouble.archive, study.uid)
        assert sorted(item.SOPClassUID for item in found) == sorted([SEG, SEG, SR])


def test_a_destination_limited_by_source_gets_only_what_that_source_sent(trouble: Trouble) -> None:
    assert outbox(trouble.after_first, trouble.research.name).sent == 0
    studies = [item.uids.study_instance_uid for item in trouble.research.sink.instances]
    assert studies == [trouble.second.uid] * 3
