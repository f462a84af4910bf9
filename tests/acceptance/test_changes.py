"""What changes behind a result: another version of an image, another patient, our own results."""

from pathlib import Path

import pytest
from pydicom import dcmread

from dicom_node.status import NodeStatus, StackStatus
from pipeline.versions import digest_file
from storage.states import StackState
from tests.acceptance.conftest import StartNode
from tests.acceptance.node import RunningNode, storescu
from tests.acceptance.studies import (
    SR,
    Study,
    of_class,
    returned,
    rewritten,
    small_study,
    uids,
    values,
)
from tests.integration.peers import Orthanc

NEW_ID = "SYNTHETIC-CORRECTED"


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Study:
    return small_study(tmp_path_factory.mktemp("study"), 11)


@pytest.fixture(scope="module")
def measured(study: Study, node: RunningNode) -> StackStatus:
    storescu(study.files, node.address)
    return node.wait_settled(study.uid)


def with_series(status: NodeStatus, series_instance_uid: str) -> list[StackStatus]:
    return [stack for stack in status.stacks if series_instance_uid in stack.series_instance_uids]


@pytest.mark.parametrize(
    ("image_type", "word"),
    [(["DERIVED", "SECONDARY"], "DERIVED"), (["ORIGINAL", "PRIMARY", "P"], "P")],
    ids=["derived", "phase map"],
)
def test_derived_images_and_phase_maps_are_stored_and_left_alone(
    image_type: list[str], word: str, node: RunningNode, tmp_path: Path
) -> None:
    other = small_study(tmp_path, 12, header={"ImageType": image_type})
    storescu(other.files, node.address)
    series = dcmread(other.files[0]).SeriesInstanceUID
    node.wait_for(lambda status: is_left_alone(with_series(status, series), len(other.files)))
    (stack,) = with_series(node.status(), series)
    assert word in stack.reason
    assert stack.generation == 0


def is_left_alone(stacks: list[StackStatus], instances: int) -> bool:
    return [(s.state, s.instances) for s in stacks] == [(StackState.UNROUTED, instances)]


def test_own_results_that_come_back_are_stored_and_left_alone(
    measured: StackStatus, study: Study, node: RunningNode, archive: Orthanc, tmp_path: Path
) -> None:
    before = returned(archive, study.uid)
    assert len(before) == 3
    files = []
    for item in before:
        files.append(tmp_path / f"{item.SOPInstanceUID}.dcm")
        item.save_as(files[-1])
    storescu(files, node.address)
    for item in before:
        series = item.SeriesInstanceUID
        status = node.wait_for(
            lambda status, uid=series: is_left_alone(with_series(status, uid), 1)
        )
        (stack,) = with_series(status, series)
        assert stack.reason == "left alone: a result this node wrote"
    after = node.wait_settled(study.uid)
    assert after.generation == measured.generation
    assert uids(returned(archive, study.uid)) == uids(before)


def test_another_version_of_one_image_makes_a_newer_result(
    measured: StackStatus, study: Study, node: RunningNode, archive: Orthanc, tmp_path: Path
) -> None:
    secret = "corrected by the ward"
    changed = rewritten(study.files[20:21], tmp_path / "new", ImageComments=secret)
    storescu(changed, node.address)
    after = node.wait_settled(study.uid, generation=measured.generation + 1)
    assert after.id == measured.id
    assert values(after.findings) == values(measured.findings)
    (note,) = node.log("instance replaced by another version")
    assert note["changed"] == ["ImageComments"]
    assert secret not in node.log_path.read_text()
    older, newer = of_class(returned(archive, study.uid), SR)
    assert newer.SeriesInstanceUID == older.SeriesInstanceUID
    assert newer.InstanceNumber == older.InstanceNumber + 1
    for version in (study.files[20], changed[0]):
        digest = digest_file(version)
        (kept,) = node.settings.storage.folder.rglob(f"{digest}.dcm")
        assert digest_file(kept) == digest


def test_another_patient_stops_what_was_not_delivered(
    study: Study, start_node: StartNode, late_archive: Orthanc, tmp_path: Path
) -> None:
    node = start_node([late_archive.address])
    storescu(study.files, node.address)
    node.wait_for(lambda status: [box.pending for box in status.outbox] == [3])
    corrected = rewritten(study.files, tmp_path / "new", PatientID=NEW_ID)
    storescu(corrected[:1], node.address)
    node.wait_for(lambda status: deliveries(status) == [(0, 3, 0)])
    storescu(corrected[1:], node.address)
    node.wait_for(lambda status: [s.generation for s in status.stacks] == [2])
    status = node.wait_for(lambda status: status.stacks[0].state is StackState.COMPLETED)
    assert deliveries(status) == [(3, 3, 0)]
    late_archive.start()
    node.wait_settled(study.uid)
    objects = returned(late_archive, study.uid)
    assert len(objects) == 3
    assert {item.PatientID for item in objects} == {NEW_ID}
    text = node.log_path.read_text()
    assert NEW_ID not in text
    assert "SYNTHETIC-11" not in text


def deliveries(status: NodeStatus) -> list[tuple[int, int, int]]:
    """Pending, dropped and sent, per destination."""
    return [(box.pending, box.dropped, box.sent) for box in status.outbox]
