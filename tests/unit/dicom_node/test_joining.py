"""Late enhancement in the sweep, and its report joined with the cine, whichever comes last."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from config.schema import Settings, StorageSettings
from dicom_node.joining import findings_beside, wake_unjoined
from dicom_node.sweep import Sweeper
from pipeline.findings import ObjectFinding, SeriesFindings
from pipeline.headers import InstanceHeader
from storage import open_storage
from storage.results import NewResult
from storage.stacks import Stack
from storage.states import StackState
from tests.unit.dicom_node.test_sweep import QUIET, SECOND, World, cine
from tests.unit.pipeline.dicom_cases import SERIES, STUDY, frame_header, instance_header


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    settings = StorageSettings(folder=tmp_path / "data", refuse_free_mb=0)
    with open_storage(settings) as storage:
        world = World(storage)
        yield world


def lge(slices: int = 8, **changed: object) -> list[InstanceHeader]:
    values = {"series_description": "LGE SA", "series_instance_uid": "1.6"} | changed
    return [
        instance_header(f"1.6.{z}", frame_header(8.0 * z, None, inversion_time_ms=280), **values)
        for z in range(slices)
    ]


def stack_of(world: World, pipeline: str) -> Stack:
    (found,) = [s for s in world.storage.stacks.of_study(STUDY) if s.pipeline == pipeline]
    return found


def finish(world: World, pipeline: str, report_uid: str, joined: str | None = None) -> None:
    """Let the queued job of a pipeline end with findings of its report."""
    job = world.storage.jobs.claim(60, world.now)
    assert job is not None
    assert job.pipeline == pipeline
    report = ObjectFinding(
        path=None, sop_class_uid="1.2", sop_instance_uid=report_uid, role="sr", segments=()
    )
    findings = SeriesFindings(
        series_instance_uids=("1.6",),
        study_instance_uid=STUDY,
        pipeline=pipeline,
        status="completed",
        reason=None,
        objects=(report,),
        joined_report_uid=joined,
        joined_series_instance_uids=(SERIES,) if joined else (),
    )
    path = world.storage.folder.persist_result(job, "sr", report_uid.encode())
    result = NewResult("sr", report_uid, "1.2", "2.25.9", path)
    world.storage.jobs.finish(job, [result], ["PACS"], findings.model_dump_json(), world.now)


def measure(world: World, headers: list[InstanceHeader], pipeline: str, report_uid: str) -> None:
    """Let a series come, and its job end."""
    world.store(headers)
    world.sweep()
    world.sweep(QUIET)
    finish(world, pipeline, report_uid)


def test_a_late_enhancement_stack_starts_when_it_is_evidently_whole(world: World) -> None:
    world.store(lge())
    world.sweep()
    assert stack_of(world, "lge").state is StackState.WAITING
    world.end(world.association)
    world.sweep(2 * SECOND)
    assert stack_of(world, "lge").state is StackState.QUEUED


def test_a_gap_in_a_late_enhancement_stack_waits_for_quiet(world: World) -> None:
    world.store([one for z, one in enumerate(lge(9)) if z != 4])
    world.end(world.association)
    world.sweep(2 * SECOND)
    assert stack_of(world, "lge").state is StackState.WAITING
    world.sweep(QUIET)
    assert stack_of(world, "lge").state is StackState.QUEUED


def test_the_declared_number_of_images_starts_it_at_once(world: World) -> None:
    declared = [replace(one, images_in_acquisition=8) for one in lge()]
    world.store(declared[:7])
    world.sweep()
    assert stack_of(world, "lge").state is StackState.WAITING
    world.store(declared[7:])
    world.sweep()
    assert stack_of(world, "lge").state is StackState.QUEUED


def test_late_enhancement_is_reported_again_once_the_cine_is_measured(world: World) -> None:
    measure(world, lge(), "lge", "2.25.1")
    assert wake_unjoined(world.storage, STUDY, world.now) == ()
    measure(world, cine(), "cine", "2.25.2")
    target = stack_of(world, "lge")
    assert wake_unjoined(world.storage, STUDY, world.now) == (target.id,)
    world.sweep(timedelta(seconds=1))
    assert stack_of(world, "lge").state is StackState.QUEUED
    (beside,) = findings_beside(world.storage, STUDY, target.id)
    assert beside.pipeline == "cine"
    finish(world, "lge", "2.25.3", joined="2.25.2")
    assert stack_of(world, "lge").generation == 2
    assert wake_unjoined(world.storage, STUDY, world.now) == ()


def test_a_cine_that_was_there_before_wakes_nothing(world: World) -> None:
    world.store([*lge(), *cine()])
    world.sweep()
    world.sweep(QUIET)
    finish(world, "cine", "2.25.2")  # queued first, whatever came first
    assert wake_unjoined(world.storage, STUDY, world.now) == ()
    finish(world, "lge", "2.25.1", joined="2.25.2")
    assert wake_unjoined(world.storage, STUDY, world.now) == ()


def joined(world: World) -> None:
    world.store([*lge(), *cine()])
    world.sweep()
    world.sweep(QUIET)
    finish(world, "cine", "2.25.2")
    finish(world, "lge", "2.25.1", joined="2.25.2")


def due(world: World) -> list[str]:
    return [item.sop_instance_uid for item in world.storage.outbox.due("PACS", world.now)]


def test_numbers_of_a_cine_that_is_somebody_elses_are_not_delivered(world: World) -> None:
    joined(world)
    assert due(world) == ["2.25.2", "2.25.1"]
    world.store(cine(patient_id="P2"))
    world.sweep()
    assert due(world) == ["2.25.2"]  # whose delivery the inbox stops
    assert stack_of(world, "lge").state is StackState.WAITING
    world.sweep()
    assert findings_beside(world.storage, STUDY, stack_of(world, "lge").id) == ()
    finish(world, "lge", "2.25.3")
    world.sweep(QUIET)
    assert due(world) == ["2.25.2", "2.25.3"]
    assert stack_of(world, "lge").state is StackState.COMPLETED


def test_a_cine_that_moves_to_another_study_leaves_the_report(world: World) -> None:
    joined(world)
    world.store(cine(study_instance_uid="1.99"))
    world.sweep()
    assert "2.25.1" not in due(world)
    assert stack_of(world, "lge").state is StackState.WAITING


def test_the_sweep_finds_the_report_that_lacks_the_cine_also_after_a_crash(world: World) -> None:
    measure(world, lge(), "lge", "2.25.1")
    measure(world, cine(), "cine", "2.25.2")  # and the node is killed
    world.sweeper = Sweeper(world.storage, Settings(), world.count)
    world.sweep()
    assert stack_of(world, "lge").state is StackState.WAITING


def test_the_cine_of_another_patient_is_not_joined(world: World) -> None:
    world.store([*cine(patient_id="P2"), *lge()])
    world.sweep()
    world.sweep(QUIET)
    finish(world, "cine", "2.25.2")
    finish(world, "lge", "2.25.1")
    assert findings_beside(world.storage, STUDY, stack_of(world, "lge").id) == ()
    assert wake_unjoined(world.storage, STUDY, world.now) == ()


def test_a_report_whose_images_were_deleted_stays_as_it_is(world: World) -> None:
    measure(world, lge(), "lge", "2.25.1")
    world.sweep()
    world.end(world.association)
    for delivery in world.storage.outbox.due("PACS", world.now):
        world.storage.outbox.mark_sent(delivery, "", world.now)
    world.now += timedelta(days=40)
    assert world.storage.retention.delete(world.now) > 0
    world.associate()
    measure(world, cine(), "cine", "2.25.2")
    assert wake_unjoined(world.storage, STUDY, world.now) == ()
    assert stack_of(world, "lge").state is StackState.COMPLETED
