"""However a study arrives: the same results, and one current set of them in the archive."""

import random
import re
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import highdicom as hd
import pytest
from pydicom import Dataset

from dicom_node.status import StackStatus
from storage.states import StackState
from tests.acceptance.conftest import StartNode
from tests.acceptance.node import RunningNode, routed, storescu
from tests.acceptance.studies import (
    SEG,
    SR,
    Study,
    as_reported,
    forget,
    of_class,
    reported,
    returned,
    same_numbers,
    small_study,
    uids,
    values,
)
from tests.integration.peers import Orthanc

SEED = 7
EARLY = "the transfer ended and no slice or phase is missing"
QUIET = "nothing more came for 5 s"
Sender = Callable[[Sequence[Path], RunningNode], None]


@dataclass(frozen=True)
class Outcome:
    """What became of a study that arrived in file order over one association."""

    stack: StackStatus
    objects: list[Dataset]


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Study:
    return small_study(tmp_path_factory.mktemp("study"), SEED)


@pytest.fixture(scope="module")
def in_order(study: Study, node: RunningNode, archive: Orthanc) -> Outcome:
    storescu(study.files, node.address)
    stack = node.wait_settled(study.uid)
    return Outcome(stack, returned(archive, study.uid))


def shuffled(files: Sequence[Path]) -> list[Path]:
    return random.Random(1).sample(list(files), len(files))


def over_one_association(files: Sequence[Path], node: RunningNode) -> None:
    storescu(shuffled(files), node.address)


def over_four_parallel_associations(files: Sequence[Path], node: RunningNode) -> None:
    mixed = shuffled(files)
    with ThreadPoolExecutor(4) as senders:
        list(senders.map(lambda part: storescu(mixed[part::4], node.address), range(4)))


def one_association_per_instance(files: Sequence[Path], node: RunningNode) -> None:
    for path in files:
        storescu([path], node.address)


def with_duplicates(files: Sequence[Path], node: RunningNode) -> None:
    again = random.Random(2).sample(list(files), len(files) // 10)
    storescu(shuffled([*files, *again]), node.address)


@pytest.mark.parametrize(
    "send",
    [
        over_one_association,
        over_four_parallel_associations,
        one_association_per_instance,
        with_duplicates,
    ],
)
def test_the_order_of_arrival_changes_nothing(
    send: Sender, study: Study, in_order: Outcome, archive: Orthanc, start_node: StartNode
) -> None:
    """Each in a node that never saw the study, to an archive that has forgotten it."""
    forget(archive, study.uid)
    # Only a sender with an association per instance has to wait for quiet.
    quiet_s = 5 if send is one_association_per_instance else 60
    other = start_node([archive.address], completion={"quiet_s": quiet_s})
    send(study.files, other)
    stack = other.wait_settled(study.uid)
    objects = returned(archive, study.uid)
    assert stack.generation == 1
    assert stack.instances == len(study.files)
    assert uids(objects) == uids(in_order.objects)
    assert len(objects) == 3
    assert values(stack.findings) == values(in_order.stack.findings)
    (queued,) = other.log("job queued")
    assert queued["because"] == (QUIET if quiet_s < 60 else EARLY)


@pytest.mark.parametrize(
    ("form", "segs"),
    [({"series_per_slice": True}, 2), ({"enhanced": True}, 1)],
    ids=["series per slice", "enhanced"],
)
def test_the_form_of_the_study_changes_nothing(
    form: dict[str, bool],
    segs: int,
    study: Study,
    in_order: Outcome,
    node: RunningNode,
    archive: Orthanc,
    tmp_path: Path,
) -> None:
    """The same images as other objects: other results, with the same numbers."""
    other = small_study(tmp_path, SEED, **form)
    storescu(other.files, node.address)
    stack = node.wait_settled(other.uid)
    objects = returned(archive, other.uid)
    (report,) = of_class(objects, SR)
    assert same_numbers(values(stack.findings), values(in_order.stack.findings))
    assert reported(report) == as_reported(stack.findings)
    assert stack.generation == 1
    assert len(stack.series_instance_uids) == (study.slices if segs > 1 else 1)
    # A SEG per source series and key phase.
    per_phase = {item.ContentLabel: 0 for item in of_class(objects, SEG)}
    for item in of_class(objects, SEG):
        per_phase[item.ContentLabel] += 1
    assert set(per_phase) == {"ED_SEGMENTATION", "ES_SEGMENTATION"}
    assert all((count > 1) == (segs > 1) for count in per_phase.values())
    assert not uids(objects) & uids(in_order.objects)


def test_a_whole_study_starts_soon_after_its_release(
    in_order: Outcome, study: Study, node: RunningNode
) -> None:
    assert node.settings.completion.quiet_s == 60
    (queued,) = [
        line
        for line in node.log("job queued")
        if line["series_instance_uids"] == list(in_order.stack.series_instance_uids)
    ]
    assert queued["because"] == EARLY
    started = [line for line in node.log("job started") if line["stack_id"] == queued["stack_id"]]
    released = node.log("association released")
    assert moment(started[0]) - last_before(released, queued) < 3.5


def test_half_a_study_waits_for_its_other_half(
    in_order: Outcome, archive: Orthanc, start_node: StartNode, study: Study
) -> None:
    """Released, without a hole, but it ends inside the ventricle: not started before quiet."""
    forget(archive, study.uid)
    other = start_node([archive.address])
    storescu(study.of_slices(0, 6), other.address)
    other.wait_for(lambda _: other.log("job deferred"))
    (stack,) = routed(other.status(), study.uid)
    assert stack.state is StackState.WAITING
    assert stack.findings is None
    (stack,) = routed(
        other.wait_for(lambda status: "more slices" in routed(status, study.uid)[0].reason),
        study.uid,
    )
    assert re.fullmatch(
        r"waits for more slices .* or until nothing came by \d\d:\d\d:\d\d UTC", stack.reason
    )
    storescu(study.of_slices(6, study.slices), other.address)
    whole = other.wait_settled(study.uid)
    assert whole.generation == 1
    assert uids(returned(archive, study.uid)) == uids(in_order.objects)


def test_a_late_half_supersedes_what_the_first_half_gave(
    in_order: Outcome, archive: Orthanc, start_node: StartNode, study: Study
) -> None:
    forget(archive, study.uid)
    other = start_node([archive.address], completion={"quiet_s": 2})
    storescu(study.of_slices(0, 6), other.address)
    half = other.wait_settled(study.uid)
    coverage = {
        item.verdict for item in half.findings.quality if item.check.startswith("coverage_")
    }
    assert coverage != {"ok"}
    storescu(study.of_slices(6, study.slices), other.address)
    whole = other.wait_settled(study.uid, generation=2)
    assert whole.id == half.id
    assert whole.generation == 2
    assert values(whole.findings) == values(in_order.stack.findings)
    objects = returned(archive, study.uid)
    older, newer = of_class(objects, SR)
    assert_supersedes(newer, older)
    (predecessor,) = newer.PredecessorDocumentsSequence
    (series,) = predecessor.ReferencedSeriesSequence
    named = [item.ReferencedSOPInstanceUID for item in series.ReferencedSOPSequence]
    assert (series.SeriesInstanceUID, named) == (older.SeriesInstanceUID, [older.SOPInstanceUID])
    assert reported(newer) == reported(of_class(in_order.objects, SR)[0])
    for label in ("ED_SEGMENTATION", "ES_SEGMENTATION"):
        segs = [item for item in of_class(objects, SEG) if item.ContentLabel == label]
        assert_supersedes(segs[-1], segs[0])
        assert segs[-1].SOPInstanceUID in segments_of(newer)
        assert segs[0].SOPInstanceUID not in segments_of(newer)


def assert_supersedes(newer: Dataset, older: Dataset) -> None:
    """As viewers choose: the newest instance of the same series."""
    assert newer.SeriesInstanceUID == older.SeriesInstanceUID
    assert newer.SOPInstanceUID != older.SOPInstanceUID
    assert newer.InstanceNumber > older.InstanceNumber
    assert (newer.ContentDate, newer.ContentTime) > (older.ContentDate, older.ContentTime)


def segments_of(report: Dataset) -> set[str]:
    """SOP Instance UIDs of the SEGs whose segments a report measures."""
    content = hd.sr.Comprehensive3DSR.from_dataset(report).content
    groups = content.get_volumetric_roi_measurement_groups()
    return {group.referenced_segment.referenced_sop_instance_uid for group in groups}


def moment(line: dict[str, object]) -> float:
    return datetime.fromisoformat(str(line["timestamp"])).timestamp()


def last_before(lines: list[dict[str, object]], line: dict[str, object]) -> float:
    return max(moment(one) for one in lines if moment(one) < moment(line))
