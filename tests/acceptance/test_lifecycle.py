"""The node as a service: one per data folder, and stopped in mid-job without a loss."""

import subprocess
import sys
import time
from pathlib import Path

from storage.states import StackState
from tests.acceptance.conftest import StartNode
from tests.acceptance.node import AE_TITLE, RunningNode, routed, storescu
from tests.acceptance.studies import returned, small_study
from tests.integration.peers import Orthanc, dcmtk


def test_a_second_node_on_the_same_folder_refuses(start_node: StartNode, tmp_path: Path) -> None:
    node = start_node()
    second = RunningNode(tmp_path / "second", storage={"folder": str(node.settings.storage.folder)})
    run = subprocess.run(
        [sys.executable, "-m", "dicom_node", "serve", "--config", second.config],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert run.returncode == 1
    folder = str(node.settings.storage.folder)
    assert run.stderr.splitlines()[-1] == f"dicom-node: another process serves {folder}"
    assert "Traceback" not in run.stderr
    dcmtk("echoscu", "-aec", AE_TITLE, node.address.host, node.address.port)
    assert node.stop() == 0
    second.start()  # the folder is free again
    second.kill()


def test_a_stop_in_mid_job_loses_nothing(
    start_node: StartNode, archive: Orthanc, tmp_path: Path
) -> None:
    study = small_study(tmp_path / "study", 13)
    node = start_node([archive.address])
    storescu(study.files, node.address)
    node.wait_for(lambda status: [s.state for s in status.stacks] == [StackState.RUNNING])
    assert node.stop() == 0
    (stack,) = routed(node.status(), study.uid)
    assert stack.state is StackState.QUEUED
    assert returned(archive, study.uid) == []
    assert node.log("stopped")
    node.start()
    stack = node.wait_settled(study.uid)
    assert stack.generation == 1
    assert stack.instances == len(study.files)
    assert len(returned(archive, study.uid)) == 3
    assert len(node.log("job completed")) == 1
    assert not list((node.settings.storage.folder / "work").iterdir())


def test_a_transfer_cut_off_by_a_stop_is_waited_for(
    start_node: StartNode, archive: Orthanc, tmp_path: Path
) -> None:
    """The quiet time starts anew with the node: while it was down nobody could send."""
    quiet_s = 6
    study = small_study(tmp_path / "study", 17)
    node = start_node([archive.address], completion={"quiet_s": quiet_s})
    storescu(study.of_slices(0, 5), node.address)
    assert node.stop() == 0
    time.sleep(quiet_s)
    node.start()
    storescu(study.of_slices(5, study.slices), node.address)
    stack = node.wait_settled(study.uid)
    assert stack.instances == len(study.files)
    assert len(node.log("job queued")) == 1
