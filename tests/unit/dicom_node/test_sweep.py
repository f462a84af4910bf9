"""The sweep on a real database: what it starts, what it tells, and what it must not forget."""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from config.schema import Settings, StorageSettings
from dicom_node.sweep import Sweeper
from pipeline.headers import InstanceHeader
from storage import Storage, open_storage
from storage.errors import StorageFault
from storage.instances import NewInstance
from storage.replays import ASKED_AGAIN
from storage.stacks import Stack
from storage.states import StackState
from tests.unit.pipeline.dicom_cases import stack_headers

SETTINGS = Settings()
QUIET = timedelta(seconds=SETTINGS.completion.quiet_s)
SECOND = timedelta(seconds=1)


@dataclass
class World:
    """A storage with a sweep over it, a clock, and an archive that can be asked."""

    storage: Storage
    now: datetime = datetime(2026, 1, 1, 12, tzinfo=UTC)
    archive_fault: Exception | None = None
    asked: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.sweeper = Sweeper(self.storage, SETTINGS, self.count)
        self.association = self.associate()

    def associate(self) -> int:
        self.association = self.storage.instances.open_association("SCANNER", "", self.now)
        return self.association

    def end(self, association: int) -> None:
        self.storage.instances.close_association(association, released=True, now=self.now)

    def count(self, study: str, series: str) -> int | None:
        self.asked.append(series)
        if self.archive_fault:
            raise self.archive_fault
        return None

    def store(self, headers: Sequence[InstanceHeader], text: str | None = None) -> None:
        for header in headers:
            content = text or header.to_json()
            digest = hashlib.sha256(content.encode() + header.sop_instance_uid.encode())
            self.storage.instances.store(
                NewInstance(
                    sop_instance_uid=header.sop_instance_uid,
                    sop_class_uid=header.sop_class_uid,
                    series_instance_uid=header.series_instance_uid,
                    study_instance_uid=header.study_instance_uid,
                    transfer_syntax_uid="1.2.840.10008.1.2.1",
                    digest=digest.hexdigest(),
                    header_json=content,
                    association_id=self.association,
                    calling_ae_title="SCANNER",
                    received_at=self.now,
                ),
                b"",
            )

    def sweep(self, after: timedelta = SECOND) -> list[dict[str, object]]:
        """Let time pass, sweep, and return the log."""
        self.now += after
        with capture_logs() as lines:
            self.sweeper.sweep(self.now)
        return [dict(line) for line in lines]

    def stack(self) -> Stack:
        (shown,) = self.storage.overview.stacks()
        return shown.stack

    def faults(self) -> list[tuple[str, str]]:
        return [(item.study_instance_uid, item.fault) for item in self.storage.overview.faults()]


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    settings = StorageSettings(folder=tmp_path / "data", refuse_free_mb=0)
    with open_storage(settings) as storage:
        yield World(storage)


def cine(slices: int = 6, **changed: object) -> list[InstanceHeader]:
    return list(stack_headers(slices, 8, **changed).values())


def events(lines: list[dict[str, object]]) -> list[object]:
    return [line["event"] for line in lines if line["log_level"] != "debug"]


def test_a_stack_is_queued_once_it_was_quiet(world: World) -> None:
    world.store(cine())
    assert events(world.sweep()) == ["series arriving"]
    assert world.stack().state is StackState.WAITING
    assert events(world.sweep(QUIET - 2 * SECOND)) == []
    assert events(world.sweep(SECOND)) == ["job queued"]
    assert world.stack().state is StackState.QUEUED
    assert events(world.sweep()) == []


def test_a_release_starts_a_stack_that_did_not_change(world: World) -> None:
    world.store(cine())
    world.sweep()
    world.end(world.association)
    world.sweep(2 * SECOND)
    assert world.stack().state is StackState.QUEUED


def test_a_stack_that_looks_cut_off_says_what_it_waits_for_and_until_when(world: World) -> None:
    world.store(cine())
    world.sweep()
    world.end(world.association)
    world.sweep(2 * SECOND)
    job = world.storage.jobs.claim(60, world.now)
    assert job is not None
    world.storage.jobs.defer(job, "the last slice shows the left ventricle", world.now)
    world.sweep()
    assert world.stack().reason == (
        "waits for more slices (the first or the last shows the left ventricle),"
        f" or until nothing came by {datetime(2026, 1, 1, 12, tzinfo=UTC) + QUIET:%H:%M:%S} UTC"
    )
    world.sweep(QUIET)
    assert world.stack().reason == f"nothing more came for {QUIET.total_seconds():g} s"


# Faults


def test_a_fault_is_kept_for_the_admin_until_the_study_goes_well(world: World) -> None:
    headers = cine()
    world.store(headers[:1], text="{}")
    (line,) = [item for item in world.sweep() if item["log_level"] == "error"]
    ((study, fault),) = world.faults()
    assert study == headers[0].study_instance_uid == line["study_instance_uid"]
    assert fault.startswith("KeyError: ")
    assert world.sweep() == []  # not looked at again, and still told
    assert len(world.faults()) == 1
    world.store(headers)
    world.sweep()
    assert world.faults() == []


def test_a_fault_in_one_study_does_not_hold_up_the_others(world: World) -> None:
    world.store(cine()[:1], text="{}")
    world.sweep()
    world.store(
        [
            replace(item, study_instance_uid="9", sop_instance_uid=item.sop_instance_uid + ".9")
            for item in cine()
        ]
    )
    assert events(world.sweep()) == ["series arriving"]


def test_after_a_restart_a_failed_study_is_looked_at_again(world: World) -> None:
    world.store(cine())
    world.end(world.association)
    world.archive_fault = ValueError("a fault")
    world.sweep()
    assert [fault for _, fault in world.faults()] == ["ValueError: a fault"]
    again = World(world.storage, world.now)
    again.sweep(2 * SECOND)
    assert again.faults() == []
    assert again.stack().state is StackState.QUEUED


def test_a_failed_study_that_is_sent_again_is_looked_at_again(world: World) -> None:
    world.store(cine())
    world.end(world.association)
    world.archive_fault = ValueError("a fault")
    world.sweep()
    world.archive_fault = None
    world.sweep()
    assert len(world.faults()) == 1
    world.store(cine())
    world.sweep()
    assert world.faults() == []


def test_a_passing_fault_is_no_matter_for_the_admin(world: World) -> None:
    world.store(cine())
    world.end(world.association)
    world.archive_fault = StorageFault("database is locked")
    put_off = "study not assessed now; the next sweep looks again"
    assert events(world.sweep())[-1] == put_off
    assert events(world.sweep()) == []
    world.archive_fault = StorageFault("no space left")
    assert events(world.sweep()) == [put_off]
    assert world.faults() == []
    world.archive_fault = None
    world.sweep()
    assert world.stack().state is StackState.QUEUED


# The archive


def test_the_archive_is_asked_once_for_each_set_of_instances(world: World) -> None:
    headers = cine()
    world.store(headers[:-1])
    world.end(world.association)
    for _ in range(3):
        world.sweep(timedelta())
    assert len(world.asked) == 1
    world.store([replace(headers[0], series_instance_uid="7", sop_instance_uid="7.1")])
    world.sweep(timedelta())
    assert len(world.asked) == 1  # another series of the study came
    world.store(headers[-1:])
    world.sweep(timedelta())
    assert len(world.asked) == 2


# What is sent again


def test_what_is_sent_again_is_started_after_the_transfer_and_once(world: World) -> None:
    world.store(cine())
    world.end(world.association)
    world.sweep(QUIET)
    job = world.storage.jobs.claim(60, world.now)
    assert job is not None
    world.storage.jobs.reject(job, "no ventricle", world.now)
    again = world.associate()
    world.store(cine()[:3])
    assert events(world.sweep(2 * QUIET)) == []
    world.store(cine()[3:])
    world.end(again)
    assert events(world.sweep()) == ["job queued"]
    assert world.stack().state is StackState.QUEUED


# What is left alone


def test_the_first_images_of_a_stack_are_not_told_as_left_alone(world: World) -> None:
    headers = cine()
    world.store(headers[:1])
    assert events(world.sweep()) == []
    assert world.stack().state is StackState.UNROUTED
    world.store(headers[1:])
    assert events(world.sweep()) == ["series arriving"]
    assert "series left alone" not in events(world.sweep(QUIET))


def test_what_is_left_alone_is_told_once_when_nothing_more_comes(world: World) -> None:
    headers = cine(slices=1)
    world.store(headers[:4])
    assert events(world.sweep()) == []
    world.store(headers[4:])
    assert events(world.sweep(QUIET / 2)) == []
    assert events(world.sweep(QUIET / 2)) == []
    (line,) = world.sweep(QUIET / 2)
    assert line["event"] == "series left alone"
    assert line["series_instance_uids"] == [headers[0].series_instance_uid]
    assert "1 slice position only" in str(line["reason"])
    world.store(headers)
    assert events(world.sweep(2 * QUIET)) == []


# The clock


def test_no_silence_counts_while_nobody_listened(world: World) -> None:
    """A transfer that a stop cut off goes on when the sender tries again."""
    world.store(cine()[:20])
    world.sweep()
    world.now += 2 * QUIET
    world.sweeper = Sweeper(world.storage, SETTINGS, world.count, listening_since=world.now)
    world.sweep()
    assert world.stack().state is StackState.WAITING
    world.now -= timedelta(days=1)  # the clock is set back
    world.storage.pull_back(world.now)
    world.sweep()
    world.sweep(QUIET)
    assert world.stack().state is StackState.QUEUED


def test_a_clock_that_is_set_back_costs_no_more_than_the_quiet_time(world: World) -> None:
    world.store(cine())
    world.sweep()
    world.now -= timedelta(hours=1)
    world.storage.pull_back(world.now)
    world.sweep(QUIET)
    assert world.stack().state is StackState.QUEUED


def test_a_series_that_is_asked_for_is_computed_again(world: World) -> None:
    headers = cine()
    world.store(headers)
    world.sweep()
    world.sweep(QUIET)
    job = world.storage.jobs.claim(60, world.now)
    assert job is not None
    world.storage.jobs.finish(job, [], [], "{}", world.now)
    assert events(world.sweep()) == []
    series = headers[0].series_instance_uid
    world.storage.replays.request(series)
    assert events(world.sweep()) == ["series asked for again", "job queued"]
    assert world.storage.replays.requested() == ()
    again = world.storage.jobs.claim(60, world.now)
    assert again is not None
    assert (again.trigger, again.inputs) == (ASKED_AGAIN, job.inputs)
    assert events(world.sweep()) == []


def test_a_series_whose_images_are_gone_is_not_asked_for_twice(world: World) -> None:
    headers = cine()
    world.store(headers)
    series = headers[0].series_instance_uid
    world.storage.replays.request(series)
    world.now += timedelta(days=99)
    world.end(world.association)
    world.storage.instances.mark_assessed(*world.storage.instances.studies_to_assess())
    assert world.storage.retention.delete(world.now) == len(headers)
    (line,) = world.sweep()
    assert line["event"] == "series asked for again not computed"
    assert "deleted by retention" in str(line["reason"])
    assert world.storage.replays.requested() == ()
