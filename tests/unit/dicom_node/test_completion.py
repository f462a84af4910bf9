from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from config.schema import CompletionSettings
from dicom_node.completion import Arrival, decide, decide_case
from pipeline.grid import Grid, build_grid
from pipeline.headers import FrameHeader, InstanceHeader

NOW = datetime(2026, 1, 1, tzinfo=UTC)
SETTINGS = CompletionSettings(quiet_s=60, settle_s=1, min_slices=6)


def header(z: int, t: int, declared: int | None, phases: int | None) -> InstanceHeader:
    frame = FrameHeader(
        position_mm=(0.0, 0.0, 10.0 * z),
        orientation=(1.0, 0.0, 0.0, 0.0, 1.0, 0.0),
        pixel_spacing_mm=(1.5, 1.5),
        trigger_time_ms=40.0 * t,
        temporal_position=None,
        clock_ms=None,
        frame_number=None,
    )
    return InstanceHeader(
        sop_instance_uid=f"1.2.{z}.{t + 1}",
        sop_class_uid="1.2.840.10008.5.1.4.1.1.4",
        series_instance_uid="1.2.3",
        study_instance_uid="1.2",
        frame_of_reference_uid="1.2.4",
        patient_id="A",
        modality="MR",
        manufacturer="",
        series_description="",
        protocol_name="",
        image_type=("ORIGINAL", "PRIMARY"),
        photometric_interpretation="MONOCHROME2",
        acquired_at="",
        rows=8,
        columns=8,
        samples_per_pixel=1,
        series_number=1,
        images_in_acquisition=declared,
        cardiac_images=phases,
        temporal_positions=None,
        nominal_interval_ms=None,
        written_by_node=False,
        frames=(frame,),
    )


def grid(
    slices: int = 8,
    phases: int = 10,
    *,
    without: tuple[tuple[int, int], ...] = (),
    declared: int | None = None,
    declared_phases: int | None = None,
) -> Grid:
    return build_grid(
        header(z, t, declared, declared_phases)
        for z in range(slices)
        for t in range(phases)
        if (z, t) not in without
    )


def arrival(**changes: object) -> Arrival:
    standard = Arrival(
        instances=80,
        associations=1,
        still_open=False,
        aborted=False,
        last_received=NOW - timedelta(seconds=3),
        last_released=NOW - timedelta(seconds=2),
    )
    return replace(standard, **changes)  # type: ignore[arg-type]


def test_whole_released_stack_starts_early() -> None:
    decision = decide(grid(), arrival(), NOW, SETTINGS)
    assert decision.ready
    assert decision.early


@pytest.mark.parametrize(
    "changes",
    [
        {"still_open": True},
        {"aborted": True},
        {"last_released": NOW - timedelta(seconds=0.5)},
        {"last_released": None},
        {"associations": 80},
    ],
    ids=["open", "aborted", "not settled", "none released", "one association per instance"],
)
def test_manner_of_arrival_holds_an_early_start_back(changes: dict[str, object]) -> None:
    assert not decide(grid(), arrival(**changes), NOW, SETTINGS).ready


@pytest.mark.parametrize(
    "stack",
    [
        grid(slices=5),
        grid(without=((3, 4),)),
        grid(without=tuple((3, t) for t in range(10))),
        grid(phases=5, declared_phases=10),
    ],
    ids=["few slices", "a hole", "a missing slice", "fewer phases than declared"],
)
def test_shape_of_the_grid_holds_an_early_start_back(stack: Grid) -> None:
    assert not decide(stack, arrival(), NOW, SETTINGS).ready


def test_early_start_can_be_switched_off() -> None:
    settings = SETTINGS.model_copy(update={"early_start": False})
    assert not decide(grid(), arrival(), NOW, settings).ready


def test_declared_count_starts_at_once_and_for_good() -> None:
    decision = decide(grid(declared=80), arrival(still_open=True), NOW, SETTINGS)
    assert decision.ready
    assert not decision.early


@pytest.mark.parametrize("declared", [81, 20])
def test_declared_count_must_be_met_exactly(declared: int) -> None:
    stack = grid(declared=declared)
    assert not decide(stack, arrival(still_open=True), NOW, SETTINGS).ready


def test_archive_knows_better_than_the_header() -> None:
    stack = grid(declared=80)
    waiting = arrival(still_open=True, archive_count=90)
    assert not decide(stack, waiting, NOW, SETTINGS).ready
    assert decide(grid(), replace(waiting, archive_count=80), NOW, SETTINGS).ready


def test_quiet_starts_whatever_is_there() -> None:
    late = arrival(aborted=True, last_received=NOW - timedelta(seconds=60))
    assert decide(None, late, NOW, SETTINGS).ready
    assert not decide(None, arrival(aborted=True), NOW, SETTINGS).ready


def test_a_whole_case_starts_soon_after_its_release() -> None:
    decision = decide_case(arrival(), NOW, SETTINGS, whole=True)
    assert decision.ready
    assert not decision.early  # nothing has to be seen in it first


@pytest.mark.parametrize(
    "changes",
    [
        {"still_open": True},
        {"aborted": True},
        {"last_released": None},
        {"last_released": NOW - timedelta(seconds=0.5)},
    ],
)
def test_a_case_that_is_not_released_waits_for_quiet(changes: dict[str, object]) -> None:
    waiting = arrival(**changes)
    assert not decide_case(waiting, NOW, SETTINGS, whole=True).ready
    assert (
        decide_case(waiting, NOW + timedelta(seconds=60), SETTINGS, whole=True).trigger
        == "nothing more came for 60 s"
    )


def test_a_case_that_lacks_a_view_waits_for_quiet() -> None:
    assert not decide_case(arrival(), NOW, SETTINGS, whole=False).ready
    assert decide_case(arrival(), NOW + timedelta(seconds=60), SETTINGS, whole=False).ready


def test_no_case_starts_early_where_none_may() -> None:
    patient = SETTINGS.model_copy(update={"early_start": False})
    assert not decide_case(arrival(), NOW, patient, whole=True).ready
