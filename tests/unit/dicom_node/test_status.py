"""What an admin reads of a node, from a real data folder."""

import json
import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from config.schema import Settings, StorageSettings
from dicom_node.status import print_status, read_status
from pipeline.case import Verdict
from pipeline.findings import ClassificationFinding, QualityCheck, SeriesFindings
from storage import open_storage
from storage.stacks import Stack
from tests.unit.storage.conftest import SERIES, STUDY, World

LONG_UID = "1.2.840.113619.2.176.2025.4110284.7478.1276008322.999.1234567890"


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(storage=StorageSettings(folder=tmp_path / "data", refuse_free_mb=0))


@pytest.fixture
def world(settings: Settings) -> Iterator[World]:
    with open_storage(settings.storage) as storage:
        yield World(storage, settings.storage)


def shown(settings: Settings, capsys: pytest.CaptureFixture[str]) -> str:
    print_status(settings, as_json=False)
    return capsys.readouterr().out


def queued(world: World, **of: str) -> Stack:
    world.store("1.1", **of)
    (stack,) = world.propose(("cine", {of.get("series", SERIES)}), study=of.get("study", STUDY))
    world.enqueue(stack)
    return stack


def test_before_the_first_start_the_folder_is_named(
    settings: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    text = shown(settings, capsys)
    assert text == f"No data folder yet at {settings.storage.folder}: `serve` makes it.\n"
    print_status(settings, as_json=True)
    read = json.loads(capsys.readouterr().out)
    assert (read["has_data"], read["folder"], read["stacks"]) == (
        False,
        str(settings.storage.folder),
        [],
    )


def test_an_empty_node_says_so(
    settings: Settings, world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    assert shown(settings, capsys) == "Stacks: none yet\n"
    assert read_status(settings).has_data


def test_a_parked_stack_stands_with_study_series_attempts_and_reason(
    settings: Settings, world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    stack = queued(world, study=LONG_UID, series=LONG_UID + "1")
    world.storage.jobs.release_expired(world.now, all_running=True)
    for _ in range(2):
        job = world.claim()
        world.storage.jobs.retry(job, "", world.now, world.now)
    world.storage.jobs.park(world.claim(), "BrokenProcessPool: [worker] died", world.now)
    assert world.stack(stack).reason
    text = shown(settings, capsys)
    for part in (
        f"Study {LONG_UID}\n",
        f"series {LONG_UID}1\n",
        "parked",
        "cine, 1 images, attempt 3",
        "BrokenProcessPool: [worker] died",
        "Stacks: 1 parked",
    ):
        assert part in text


def test_a_completed_stack_stands_with_what_is_to_be_looked_at(
    settings: Settings, world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    queued(world)
    findings = SeriesFindings(
        series_instance_uids=(SERIES,),
        study_instance_uid=STUDY,
        pipeline="cine",
        status="completed",
        reason=None,
        quality=(
            QualityCheck(check="a", verdict=Verdict.REVIEW, reason="2 images missing", value=2),
            QualityCheck(check="b", verdict=Verdict.WITHHELD, reason="no basal slice", value=None),
            QualityCheck(check="c", verdict=Verdict.OK, reason="all is well", value=None),
        ),
        classification=ClassificationFinding(
            subject="ecg",
            found="normal",
            confidence=0.9,
            probabilities={"normal": 0.9, "other": 0.1},
            withheld=None,
            training="",
        ),
    )
    world.storage.jobs.finish(world.claim(), [], [], findings.model_dump_json(), world.now)
    text = shown(settings, capsys)
    assert "research only: normal, probability 0.90\n" in text
    assert "started when quiet\n" in text
    assert "review: 2 images missing\n" in text
    assert "withheld: no basal slice\n" in text
    assert "all is well" not in text


def test_results_that_were_stopped_stand_with_the_reason(
    settings: Settings, world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    stack = world.complete("1.1")
    world.store("1.1", "b")
    world.storage.outbox.drop_outdated("the patient's identity changed", world.now, SERIES)
    world.propose(("cine", {SERIES}))
    world.enqueue(world.stack(stack))
    world.finish(world.claim(), "PACS")
    text = shown(settings, capsys)
    assert "Outbox to PACS: 1 pending (oldest " in text
    assert "0 sent, 0 parked, 1 dropped (1 the patient's identity changed)" in text
    (box,) = read_status(settings).outbox
    assert box.dropped_because == {"the patient's identity changed": 1}


def test_a_pending_delivery_stands_with_its_fault_and_the_time_of_the_next_attempt(
    settings: Settings, world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    world.complete("1.1")
    (delivery,) = world.storage.outbox.due("PACS", world.now)
    following = datetime.now(UTC) + timedelta(hours=2)
    world.storage.outbox.mark_failed(delivery, "no connection", following)
    text = shown(settings, capsys)
    assert re.search(r"1 pending \(oldest .*, next attempt in (1:59|2:00):\d\d\), 0 sent", text)
    assert "no connection\n" in text


def test_a_parked_delivery_stands_with_the_study_to_push_again(
    settings: Settings, world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    world.complete("1.1")
    (delivery,) = world.storage.outbox.due("PACS", world.now)
    world.storage.outbox.park(delivery, "no connection", world.now)
    assert f"parked until it is pushed again: study {STUDY}\n" in shown(settings, capsys)


def test_a_study_that_could_not_be_assessed_stands_with_the_fault(
    settings: Settings, world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    world.store("1.1")
    (study,) = world.storage.instances.studies_to_assess()
    world.storage.instances.note_fault(study, "KeyError: 'rows'")
    assert f"could not be assessed (the log has the fault)\n  {STUDY}\n" in shown(settings, capsys)
    (fault,) = read_status(settings).faults
    assert (fault.study_instance_uid, fault.fault) == (STUDY, "KeyError: 'rows'")


def test_findings_of_another_version_are_left_out(settings: Settings, world: World) -> None:
    world.complete("1.1")
    (stack,) = read_status(settings).stacks
    assert stack.findings is None


def test_the_study_that_changed_last_stands_last(
    settings: Settings, world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    for number, study in enumerate(("5.1", "5.2")):
        world.store(f"1.{number}", study=study, series=f"{study}.9")
        world.propose(("cine", {f"{study}.9"}), study=study)
        world.later(seconds=1)
    world.store("1.7", study="5.1", series="5.1.8")
    world.propose(("cine", {"5.1.9"}), (None, {"5.1.8"}), study="5.1")
    text = shown(settings, capsys)
    assert text.index("Study 5.2") < text.index("Study 5.1")
