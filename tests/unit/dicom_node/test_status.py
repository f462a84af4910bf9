"""What an admin reads of a node, from a real data folder."""

import json
import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from config.errors import ConfigError
from config.schema import Settings, SiteSettings, StorageSettings
from dicom_node.status import Wanted, print_status, read_status
from pipeline.case import Verdict
from pipeline.findings import ClassificationFinding, QualityCheck, SeriesFindings
from storage import open_storage
from storage.stacks import Stack
from storage.states import StackState
from tests.unit.storage.conftest import SERIES, START, STUDY, World

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


def queued(world: World, uid: str = "1.1", **of: str) -> Stack:
    world.store(uid, **of)
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
    assert (read["has_data"], read["node_runs"], read["folder"], read["stacks"]) == (
        False,
        False,
        str(settings.storage.folder),
        [],
    )


def test_an_empty_node_says_so(
    settings: Settings, world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    runs = f"A node runs on {settings.storage.folder}\n"
    assert shown(settings, capsys) == f"Stacks: none yet\n{runs}"
    assert read_status(settings).has_data


def test_without_a_node_nothing_is_said_to_run(
    settings: Settings, world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    queued(world)
    world.claim()
    text = shown(settings, capsys)
    assert "  running    for " in text
    assert "No node runs" not in text
    world.storage.close()  # as after a power cut
    text = shown(settings, capsys)
    assert "running" not in text
    assert "  interrupted for " in text
    assert "runs again when the node starts\n" in text
    assert "Stacks: 1 interrupted\n" in text
    assert text.splitlines()[-1].startswith(f"No node runs on {settings.storage.folder}: ")
    status = read_status(settings)
    assert (status.node_runs, status.stacks[0].interrupted) == (False, True)
    assert Wanted.read("", "", ["interrupted"], "UTC", START).states == (StackState.RUNNING,)


def test_a_stack_stands_with_its_number_its_dates_and_the_accession_number(
    settings: Settings, world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    world.store("1.1", header_json='{"accession_number": "A-17", "patient_id": "P-4711"}')
    world.store("1.2")
    world.later(minutes=5)
    (stack,) = world.propose(("cine", {SERIES}))
    berlin = settings.model_copy(update={"site": SiteSettings(timezone="Europe/Berlin")})
    text = shown(berlin, capsys)
    assert f"Study {STUDY}, accession number A-17\n" in text
    assert (
        f"stack {stack.id}, received 2026-01-01 13:00:00 CET, last change 2026-01-01 13:05" in text
    )
    assert "P-4711" not in text


def test_an_accession_number_steers_no_terminal(
    settings: Settings, world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    sent = "A\x1b[2J\x9b31m\nStacks: 99 completed" + 60_000 * "9"
    world.store("1.1", header_json=json.dumps({"accession_number": sent}))
    world.propose(("cine", {SERIES}))
    line = shown(settings, capsys).splitlines()[0]
    assert line.startswith(f"Study {STUDY}, accession number A?[2J?31m?Stacks: 99 completed999")
    assert len(line) < 200


def test_what_failed_since_a_time_or_of_one_study_is_shown_alone(
    settings: Settings, world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    for number in (1, 2, 3):
        queued(world, study=f"5.{number}", series=f"5.{number}.9", uid=f"1.{number}")
        world.storage.jobs.reject(world.claim(), f"fault {number}", world.now)
        world.later(days=1)
    queued(world, study="5.4", series="5.4.9", uid="1.4")

    def studies(**filters: object) -> list[str]:
        print_status(settings, as_json=True, **filters)  # type: ignore[arg-type]
        shown = json.loads(capsys.readouterr().out)
        return [stack["study_instance_uid"] for stack in shown["stacks"]]

    assert studies() == ["5.1", "5.2", "5.3", "5.4"]
    assert studies(states=["rejected"]) == ["5.1", "5.2", "5.3"]
    assert studies(states=["rejected", "queued"], since="2026-01-02T12:00Z") == [
        "5.2",
        "5.3",
        "5.4",
    ]
    assert studies(study="5.2") == ["5.2"]
    print_status(settings, as_json=False, study="5.9")
    assert capsys.readouterr().out.startswith("Stacks: none of these\n")


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("7d", START - timedelta(days=7)),
        ("12h", START - timedelta(hours=12)),
        ("2w", START - timedelta(weeks=2)),
        ("2025-12-31", datetime(2025, 12, 30, 23, tzinfo=UTC)),
        ("2025-12-31T08:00Z", datetime(2025, 12, 31, 8, tzinfo=UTC)),
    ],
)
def test_times_are_given_back_from_now_or_as_dates_of_the_site(typed: str, meant: datetime) -> None:
    assert Wanted.read("", typed, (), "Europe/Berlin", START).since == meant


@pytest.mark.parametrize(
    ("study", "since", "states", "allowed"),
    [
        ("", "week", (), "7d"),
        ("", "", ("failed",), "rejected"),
        ("A-4711", "", (), "digits and dots"),
        ("\udcff", "", (), "digits and dots"),
    ],
)
def test_what_is_no_uid_no_time_and_no_state_is_told_with_what_is(
    study: str, since: str, states: tuple[str, ...], allowed: str
) -> None:
    with pytest.raises(ConfigError, match=allowed):
        Wanted.read(study, since, states, "UTC", START)


@pytest.mark.parametrize("since", ["0001-01-01", "9999-12-31T23:59-12:00"])
def test_a_time_that_no_clock_shows_is_told(since: str) -> None:
    with pytest.raises(ConfigError, match="out of range"):
        Wanted.read("", since, (), "Europe/Berlin", START)


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
    assert "started: quiet\n" in text
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


def test_a_completed_study_of_which_the_archive_has_nothing_stands_as_not_delivered(
    settings: Settings, world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    world.complete("1.1")
    line = f"not all delivered yet: study {STUDY}\n"
    assert line in shown(settings, capsys)
    world.deliver()
    assert line not in shown(settings, capsys)


def test_what_is_pushed_again_is_as_old_as_before(settings: Settings, world: World) -> None:
    world.complete("1.1")
    age = datetime.now(UTC) - world.now
    world.later(days=1)
    world.store("1.1")
    (box,) = read_status(settings).outbox
    assert box.oldest_pending_s == pytest.approx(age.total_seconds(), abs=60)


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
