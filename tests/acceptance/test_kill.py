"""Kill the node at any moment: nothing acknowledged is lost, and one set of results comes out."""

import random
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from threading import Thread

import pytest
from pydicom import dcmread

from dicom_node.errors import PeerUnavailable
from dicom_node.phantom import write_cine_study
from dicom_node.process import process_files
from dicom_node.send import SendResult, send_files
from pipeline.versions import digest_file
from storage import open_storage
from storage.states import StackState
from tests.acceptance.conftest import StartNode
from tests.acceptance.node import SCANNER, RunningNode, routed
from tests.integration.peers import Orthanc, wait_until

CI_SEEDS = 4
CAMPAIGN_SEEDS = 40
SEEDS = [
    pytest.param(seed, marks=() if seed < CI_SEEDS else (pytest.mark.campaign,))
    for seed in range(CAMPAIGN_SEEDS)
]


@dataclass
class Sender:
    """Sends files in a thread and remembers which were acknowledged."""

    files: list[Path]
    acknowledged: list[Path] = field(default_factory=list)

    def send(self, node: RunningNode) -> Thread:
        """Send what was not acknowledged yet."""
        thread = Thread(target=self._send, args=(node,))
        thread.start()
        return thread

    def _send(self, node: RunningNode) -> None:
        missing = [path for path in self.files if path not in self.acknowledged]
        try:
            send_files(node.address, missing, self._note, calling_ae_title=SCANNER)
        except PeerUnavailable:
            return  # the node was killed

    def _note(self, result: SendResult) -> None:
        if result.sent:
            self.acknowledged.append(result.path)


def study(folder: Path, seed: int) -> list[Path]:
    """A small synthetic study; its end slices show no LV."""
    write_cine_study(folder, seed, slices=8, phases=4, rows=128, columns=128)
    return sorted(folder.glob("*.dcm"))


def kill_in_mid_receive(node: RunningNode, sender: Sender, chance: random.Random) -> None:
    enough = chance.randrange(1, len(sender.files))
    thread = sender.send(node)
    wait_until(lambda: len(sender.acknowledged) >= enough)
    node.kill()
    thread.join()


def kill_in_mid_job(node: RunningNode, sender: Sender, chance: random.Random) -> None:
    sender.send(node).join()
    node.wait_for(lambda status: any(s.state is StackState.RUNNING for s in status.stacks))
    time.sleep(chance.uniform(0, 4))
    node.kill()


def kill_in_mid_send(node: RunningNode, sender: Sender, chance: random.Random) -> None:
    sender.send(node).join()
    node.wait_for(lambda status: any(s.state is StackState.COMPLETED for s in status.stacks))
    time.sleep(chance.uniform(0, 1))
    node.kill()


MOMENTS: list[Callable[[RunningNode, Sender, random.Random], None]] = [
    kill_in_mid_receive,
    kill_in_mid_job,
    kill_in_mid_send,
]


@pytest.mark.parametrize("seed", SEEDS)
def test_killed_node_loses_nothing_and_gives_one_result(
    seed: int, archive: Orthanc, start_node: StartNode, tmp_path: Path
) -> None:
    files = study(tmp_path / "study", seed)
    node = start_node([archive.address], completion={"quiet_s": 10.0})
    sender = Sender(files)

    MOMENTS[seed % len(MOMENTS)](node, sender, random.Random(seed))
    assert_kept(node, sender.acknowledged)
    node.start()
    sender.send(node).join()
    study_uid = dcmread(files[0], stop_before_pixels=True).StudyInstanceUID
    node.wait_settled(study_uid)

    undisturbed = process_files([tmp_path / "study"], tmp_path / "undisturbed", node.settings)
    assert results_in(archive, study_uid) == {item.sop_instance_uid for item in undisturbed.objects}
    assert len(routed(node.status(), study_uid)) == 1


def assert_kept(node: RunningNode, acknowledged: list[Path]) -> None:
    """Each acknowledged instance lies in the store, with the bytes that were sent."""
    storage = open_storage(node.settings.storage, read_only=True)
    try:
        study_uid = dcmread(acknowledged[0], stop_before_pixels=True).StudyInstanceUID
        stored = {item.sop_instance_uid: item.path for item in storage.instances.current(study_uid)}
    finally:
        storage.close()
    for path in acknowledged:
        kept = stored[dcmread(path, stop_before_pixels=True).SOPInstanceUID]
        assert kept is not None
        assert digest_file(kept) == digest_file(path)


def results_in(archive: Orthanc, study_uid: str) -> set[str]:
    """SOP Instance UIDs of the SEG and SR objects of a study in the archive."""
    return {
        archive.ask(f"/instances/{identifier}")["MainDicomTags"]["SOPInstanceUID"]
        for modality in ("SEG", "SR")
        for identifier in archive.find("Instance", StudyInstanceUID=study_uid, Modality=modality)
    }
