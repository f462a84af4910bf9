"""Worker processes that die, hang or take too long: an attempt each, and the next study runs."""

import os
import signal
import time
from pathlib import Path

import pytest

from dicom_node.status import StackStatus
from storage.states import StackState
from tests.acceptance.conftest import StartNode
from tests.acceptance.node import RunningNode, routed, storescu
from tests.acceptance.studies import SEG, SR, TINY, returned, small_study
from tests.integration.peers import Orthanc

COMPLETION = {"quiet_s": 10.0}


def worker_processes(node: RunningNode) -> list[int]:
    """Process ids of the children of `serve` that compute."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            stat = (folder / "stat").read_text()
            command = (folder / "cmdline").read_bytes()
        except (FileNotFoundError, ProcessLookupError):
            continue  # it ended meanwhile
        parent = int(stat.rpartition(")")[2].split()[1])
        if parent == node.pid and b"spawn_main" in command:
            found.append(int(folder.name))
    return found


def signal_worker(node: RunningNode, study_uid: str, attempt: int, number: signal.Signals) -> int:
    """Signal the process that computes an attempt; returns its id."""
    node.wait_for(
        lambda status: any(
            stack.state is StackState.RUNNING and stack.attempts == attempt
            for stack in routed(status, study_uid)
        )
    )
    deadline = time.monotonic() + 30
    while not (found := worker_processes(node)):
        assert time.monotonic() < deadline, "no worker process"
        time.sleep(0.02)
    (pid,) = found
    os.kill(pid, number)
    return pid


def parked(node: RunningNode, study_uid: str) -> StackStatus:
    """Wait until the only stack of a study is parked."""
    status = node.wait_for(
        lambda status: [item.state for item in routed(status, study_uid)] == [StackState.PARKED]
    )
    return routed(status, study_uid)[0]


def assert_delivered(archive: Orthanc, study_uid: str) -> None:
    found = returned(archive, study_uid)
    assert sorted(item.SOPClassUID for item in found) == sorted([SEG, SEG, SR])


def test_a_worker_that_dies_costs_an_attempt(
    archive: Orthanc, start_node: StartNode, tmp_path: Path
) -> None:
    node = start_node([archive.address], completion=COMPLETION, worker={"threads": 1})
    deadly = small_study(tmp_path / "deadly", 210, **TINY)
    storescu(deadly.files, node.address)
    killed = {signal_worker(node, deadly.uid, attempt, signal.SIGKILL) for attempt in (1, 2, 3)}
    stack = parked(node, deadly.uid)
    assert len(killed) == 3
    assert stack.attempts == 3
    assert "BrokenProcessPool" in stack.reason
    assert len(node.log("job failed, will be tried again")) == 2
    (told,) = node.log("job parked for the admin")
    assert (told["stack_id"], told["study_instance_uid"]) == (stack.id, deadly.uid)
    assert told["series_instance_uids"] == list(stack.series_instance_uids)

    following = small_study(tmp_path / "following", 211, **TINY)
    storescu(following.files, node.address)
    signal_worker(node, following.uid, 1, signal.SIGKILL)
    assert node.wait_settled(following.uid).attempts == 2
    assert_delivered(archive, following.uid)
    assert returned(archive, deadly.uid) == []
    assert len(worker_processes(node)) == 1


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_to_the_whole_group_costs_no_attempt(
    number: signal.Signals, archive: Orthanc, start_node: StartNode, tmp_path: Path
) -> None:
    """As systemd or a terminal (Ctrl-C) sends it: the node decides what becomes of a job."""
    node = start_node([archive.address], completion=COMPLETION, worker={"threads": 1})
    study = small_study(tmp_path / "study", 216, **TINY)
    storescu(study.files, node.address)
    signal_worker(node, study.uid, 1, signal.SIGCONT)  # it is there
    os.killpg(node.pid, number)
    assert node.stop() == 0
    assert len(node.log("job put back: the node stops")) == 1
    assert node.log("job failed, will be tried again") == []
    (left,) = routed(node.status(), study.uid)
    assert (left.state, left.attempts) == (StackState.QUEUED, 0)
    assert not node.status().node_runs


def test_a_job_that_outlasts_its_limit_costs_an_attempt(
    archive: Orthanc, start_node: StartNode, tmp_path: Path
) -> None:
    node = start_node(
        [archive.address], completion=COMPLETION, worker={"threads": 1, "job_time_limit_s": 0.5}
    )
    studies = [small_study(tmp_path / str(seed), seed, **TINY) for seed in (212, 213)]
    for study in studies:
        storescu(study.files, node.address)
    for study in studies:  # the second was started in spite of the first
        stack = parked(node, study.uid)
        assert stack.attempts == 3
        assert "JobTimeLimit: took longer than 0.5 s" in stack.reason
    assert worker_processes(node) == []
    assert node.stop() == 0

    # With a limit that fits, the same node goes on; what was parked is left to the admin.
    node = start_node([archive.address], completion=COMPLETION, worker={"threads": 1})
    following = small_study(tmp_path / "following", 214, **TINY)
    storescu(following.files, node.address)
    node.wait_settled(following.uid)
    assert_delivered(archive, following.uid)
    assert parked(node, studies[0].uid).attempts == 3

    # Who sends it again from the PACS, unchanged.
    storescu(studies[0].files, node.address)
    node.wait_settled(studies[0].uid)
    assert_delivered(archive, studies[0].uid)
    assert parked(node, studies[1].uid)


@pytest.mark.campaign
def test_a_worker_that_hangs_is_replaced(
    archive: Orthanc, start_node: StartNode, tmp_path: Path
) -> None:
    node = start_node(
        [archive.address], completion=COMPLETION, worker={"threads": 1, "job_time_limit_s": 60}
    )
    study = small_study(tmp_path / "study", 215, **TINY)
    storescu(study.files, node.address)
    hung = signal_worker(node, study.uid, 1, signal.SIGSTOP)
    assert node.wait_settled(study.uid, timeout_s=300).attempts == 2
    (failure,) = node.log("job failed, will be tried again")
    assert "JobTimeLimit" in str(failure["reason"])
    assert hung not in worker_processes(node)
    assert_delivered(archive, study.uid)
