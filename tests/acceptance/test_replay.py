"""`dicom-node replay`: a series computed again from the store of the running node."""

import subprocess
import sys
from pathlib import Path

import pytest
from pydicom import dcmread

from tests.acceptance.conftest import StartNode
from tests.acceptance.node import RunningNode, destination, storescu
from tests.acceptance.studies import SEG, SR, TINY, of_class, returned, small_study, uids
from tests.integration.peers import ENVIRONMENT, Orthanc


def replay(node: RunningNode, series: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "dicom_node", "replay", series, "--config", node.config]
    return subprocess.run(
        command, env=ENVIRONMENT, capture_output=True, text=True, timeout=120, check=False
    )


@pytest.mark.parametrize("series", ["1.2.3.4.5", "../1"])
def test_a_series_that_never_came_is_named(series: str, node: RunningNode) -> None:
    run = replay(node, series)
    assert run.returncode == 1
    expected = f"dicom-node: no image of series {series} was ever stored here"
    assert run.stderr.splitlines()[-1] == expected


def test_a_replay_gives_the_same_results_until_something_decides_otherwise(
    start_node: StartNode, archive: Orthanc, tmp_path: Path
) -> None:
    study = small_study(tmp_path / "study", 21, **TINY)
    series = str(dcmread(study.files[0], stop_before_pixels=True).SeriesInstanceUID)
    node = start_node([archive.address], completion={"quiet_s": 2})
    storescu(study.files, node.address)
    node.wait_settled(study.uid, timeout_s=300)
    before = returned(archive, study.uid)

    run = replay(node, series)
    assert run.returncode == 0, run.stderr
    assert run.stdout.startswith("completed: the same results as before")
    assert node.wait_settled(study.uid).reason.startswith("asked for again")
    assert uids(returned(archive, study.uid)) == uids(before)
    node.wait_for(lambda status: [box.sent for box in status.outbox] == [2 * len(before)])

    assert node.stop() == 0
    run = replay(node, series)
    assert run.returncode == 0, run.stderr
    assert run.stdout.startswith("No node took the request up")
    other = RunningNode(
        node.folder,
        [destination(archive.address, "archive")],
        completion={"quiet_s": 2},
        site={"station_name": "ANOTHER"},
    )
    other.start()
    try:
        other.wait_settled(study.uid, generation=2, timeout_s=300)
    finally:
        other.kill()
    after = returned(archive, study.uid)
    assert len(after) == 2 * len(before)
    older, newer = of_class(after, SR)
    assert newer.SeriesInstanceUID == older.SeriesInstanceUID
    assert newer.ContentTime > older.ContentTime
    (named,) = (
        newer.PredecessorDocumentsSequence[0].ReferencedSeriesSequence[0].ReferencedSOPSequence
    )
    assert named.ReferencedSOPInstanceUID == older.SOPInstanceUID
    newest = {item.SOPInstanceUID for item in of_class(after, SEG) if item.InstanceNumber == 2}
    evidence = newer.CurrentRequestedProcedureEvidenceSequence[0].ReferencedSeriesSequence
    referenced = {one.ReferencedSOPInstanceUID for s in evidence for one in s.ReferencedSOPSequence}
    assert newest
    assert newest == referenced & uids(of_class(after, SEG))
