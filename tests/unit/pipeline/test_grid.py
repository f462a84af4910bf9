"""The slice x phase grid: order, phases, what is missing, what is refused."""

import random
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.errors import Rejection
from pipeline.grid import Grid, build_grid
from pipeline.headers import InstanceHeader, read_header
from tests.unit.pipeline.dicom_cases import (
    COLUMN,
    NORMAL,
    ORIGIN,
    ROW,
    SERIES,
    frame_header,
    instance_header,
    stack_headers,
    with_frame,
)


def uids(grid: Grid) -> list[list[str | None]]:
    return [[cell and cell.cell.instance.sop_instance_uid for cell in row] for row in grid.cells]


def expected_uids(slices: int, phases: int) -> list[list[str]]:
    return [[f"{SERIES}.{z + 1}.{t + 1}" for z in range(slices)] for t in range(phases)]


def refused(headers: list[InstanceHeader], code: str, uid: str | None = None) -> Rejection:
    with pytest.raises(Rejection) as caught:
        build_grid(headers)
    assert caught.value.code == code
    if uid is not None:
        assert caught.value.sop_instance_uid == uid
    return caught.value


@given(st.randoms(use_true_random=False))
def test_order_of_input_does_not_count(rng: random.Random) -> None:
    headers = list(stack_headers(interval_ms=[40, 44, 37, 41, 40]).values())
    rng.shuffle(headers)
    grid = build_grid(headers)
    assert uids(grid) == expected_uids(5, 8)
    assert (grid.n_slices, grid.n_phases, grid.holes, grid.missing) == (5, 8, 0, ())
    assert (grid.missing_slices, grid.evenly_spaced, grid.missing_fraction) == (0, True, 0)


def test_oblique_geometry() -> None:
    grid = build_grid(stack_headers().values())
    np.testing.assert_allclose(grid.normal, NORMAL, atol=1e-12)
    np.testing.assert_allclose(grid.row_cosines, ROW, atol=1e-12)
    np.testing.assert_allclose(grid.column_cosines, COLUMN, atol=1e-12)
    expected = ORIGIN + np.arange(5)[:, None] * 8 * NORMAL
    np.testing.assert_allclose(grid.positions_mm, expected, atol=1e-9)
    assert grid.pixel_spacing_mm == (1.5, 1.25)
    assert (grid.rows, grid.columns) == (4, 5)
    assert grid.slice_spacing_mm == pytest.approx(8)


def test_slices_run_along_the_normal_whatever_way_they_were_taken() -> None:
    headers = stack_headers(spacing_mm=-8.0)
    assert uids(build_grid(headers.values())) == [row[::-1] for row in expected_uids(5, 8)]


def test_trigger_time_is_the_median_over_slices_with_their_own_heart_rates() -> None:
    grid = build_grid(stack_headers(5, 4, interval_ms=[30, 35, 40, 60, 70]).values())
    np.testing.assert_allclose(grid.trigger_times_ms, [10, 50, 90, 130])


@pytest.mark.parametrize("gone", [0, 1, 4, 6, 7])
def test_a_missing_phase_is_found_and_named(gone: int) -> None:
    headers = stack_headers(5, 8, interval_ms=[40, 44, 37, 46, 40], first_ms=12.0)
    del headers[gone, 3]
    grid = build_grid(headers.values())
    assert grid.cells[gone][3] is None
    assert grid.holes == 1
    assert grid.missing == (f"slice 4: phase {gone + 1} missing",)
    assert grid.missing_fraction == pytest.approx(1 / 40)


@given(st.sets(st.integers(0, 11), min_size=1, max_size=9), st.floats(0.85, 1.2))
def test_any_missing_phases_of_a_slice_are_named(gone: set[int], rate: float) -> None:
    headers = stack_headers(5, 12, interval_ms=[40, 41, 40 * rate, 39, 40], first_ms=0.0)
    for phase in gone:
        del headers[phase, 2]
    grid = build_grid(headers.values())
    if len(gone) <= 4:
        there = {t for t in range(12) if grid.cells[t][2] is not None}
        assert there == set(range(12)) - gone
    assert grid.holes == len(gone)
    present = [cell[2].time_ms for cell in grid.cells if cell[2] is not None]
    assert present == sorted(present)


def test_every_second_phase_missing() -> None:
    headers = stack_headers(4, 10)
    for phase in range(1, 10, 2):
        del headers[phase, 1]
    grid = build_grid(headers.values())
    assert [t for t in range(10) if grid.cells[t][1] is None] == [1, 3, 5, 7, 9]
    assert grid.missing == ("slice 2: phases 2, 4, 6, 8, 10 missing",)


@pytest.mark.parametrize("phases", [20, 21])
def test_the_loss_of_every_third_file_leaves_holes_and_no_shorter_beat(phases: int) -> None:
    headers = stack_headers(6, phases, first_ms=0.0)
    in_order = sorted(headers, key=lambda key: (key[1], key[0]))
    for key in in_order[2::3]:
        del headers[key]
    grid = build_grid(headers.values())
    assert grid.n_phases >= phases - 1
    assert grid.hole_fraction > 0.25


def test_phases_that_no_slice_has_are_named_once() -> None:
    headers = {key: one for key, one in stack_headers(5, 12).items() if key[0] not in (4, 5)}
    del headers[8, 2]
    grid = build_grid(headers.values())
    assert (grid.n_phases, grid.holes) == (12, 11)
    assert grid.missing == ("all slices: phases 5, 6 missing", "slice 3: phase 9 missing")


def test_one_phase_of_a_slice_is_enough_to_place_it() -> None:
    headers = stack_headers(4, 10)
    for phase in set(range(10)) - {6}:
        del headers[phase, 1]
    assert build_grid(headers.values()).cells[6][1] is not None


def test_a_missing_slice_is_counted_and_named() -> None:
    headers = {key: header for key, header in stack_headers(6, 4).items() if key[1] != 2}
    grid = build_grid(headers.values())
    assert (grid.n_slices, grid.missing_slices, grid.evenly_spaced) == (5, 1, False)
    assert grid.missing == ("between slices 2 and 3: 1 slice missing",)
    assert grid.missing_fraction == pytest.approx(1 / 6)
    np.testing.assert_allclose(grid.slice_extent_mm, [8, 12, 12, 8, 8])
    assert grid.slice_extent_mm.sum() == pytest.approx(48)


def test_a_missing_slice_of_a_short_stack() -> None:
    headers = {key: header for key, header in stack_headers(4, 2).items() if key[1] != 2}
    grid = build_grid(headers.values())
    assert (grid.missing_slices, grid.slice_spacing_mm) == (1, pytest.approx(8))


def test_uneven_spacing_is_usable_and_named() -> None:
    headers = stack_headers(5, 2)
    for t in range(2):
        headers[t, 4] = with_frame(headers[t, 4], position_mm=frame_header(35.6, None).position_mm)
    grid = build_grid(headers.values())
    assert (grid.missing_slices, grid.evenly_spaced, grid.missing_fraction) == (0, False, 0)
    assert grid.missing == ("slices 4 and 5 are 11.6 mm apart, not 8.0 mm",)


@given(st.lists(st.floats(5, 40), min_size=2, max_size=15))
def test_extents_sum_to_the_covered_length(gaps: list[float]) -> None:
    along = np.concatenate([[0], np.cumsum(gaps)])
    headers = [
        instance_header(f"1.{z}.{t}", frame_header(z_mm, 40.0 * t))
        for z, z_mm in enumerate(along)
        for t in range(2)
    ]
    grid = build_grid(headers)
    assert grid.n_slices == len(along)
    assert grid.slice_extent_mm.sum() == pytest.approx(along[-1] + grid.slice_spacing_mm)
    assert (grid.slice_extent_mm > 0).all()
    assert min(gaps) - 1e-6 <= grid.slice_spacing_mm <= max(gaps) + 1e-6


def test_jitter_and_in_plane_shift_are_tolerated() -> None:
    rng = np.random.default_rng(1)
    headers = {}
    for (t, z), header in stack_headers(5, 4).items():
        plane = np.array([*ROW, *COLUMN]) + rng.normal(0, 1e-3, 6)
        shifted = ORIGIN + (8 * z + rng.uniform(-0.2, 0.2)) * NORMAL + 3 * z * ROW
        headers[t, z] = with_frame(header, orientation=tuple(plane), position_mm=tuple(shifted))
    grid = build_grid(headers.values())
    assert uids(grid) == expected_uids(5, 4)
    assert grid.evenly_spaced
    in_plane = (grid.positions_mm - ORIGIN) @ ROW
    np.testing.assert_allclose(in_plane, 3 * np.arange(5), atol=0.1)


@pytest.mark.parametrize("far", [100.0, -100.0])
def test_a_far_slice_does_not_merge_the_others(far: float) -> None:
    headers = stack_headers(6, 2)
    for t in range(2):
        headers[t, 6] = instance_header(f"9.{t}", frame_header(far, 40.0 * t))
    assert build_grid(headers.values()).n_slices == 7


def test_temporal_position_orders_where_trigger_time_is_absent() -> None:
    headers = [
        with_frame(header, trigger_time_ms=None, temporal_position=t + 1)
        for (t, z), header in stack_headers(
            3, 4, nominal_interval_ms=800.0, temporal_positions=4
        ).items()
    ]
    grid = build_grid(reversed(headers))
    assert uids(grid) == expected_uids(3, 4)
    np.testing.assert_allclose(grid.trigger_times_ms, [0, 200, 400, 600])
    assert grid.missing == (
        "trigger times; phases are ordered by temporal position, and stated times are estimates",
    )
    assert grid.times_are_estimates
    assert not build_grid(stack_headers(3, 4).values()).times_are_estimates


def test_temporal_positions_are_spread_over_a_usual_beat_where_none_is_stated() -> None:
    headers = [
        with_frame(header, trigger_time_ms=None, temporal_position=t + 1)
        for (t, z), header in stack_headers(3, 4).items()
    ]
    np.testing.assert_allclose(build_grid(headers).trigger_times_ms, [0, 250, 500, 750])


@pytest.mark.parametrize(("far", "absent"), [(56.0, 2), (52.0, 1), (94.5, 6), (46.0, 0), (44.0, 0)])
def test_a_wide_gap_counts_the_slices_that_would_fit(far: float, absent: int) -> None:
    headers = stack_headers(5, 2)
    for t in range(2):
        headers[t, 5] = instance_header(f"9.{t}", frame_header(far, 10 + 40.0 * t))
    grid = build_grid(headers.values())
    assert (grid.missing_slices, grid.evenly_spaced) == (absent, False)


def test_missing_temporal_position_is_placed_exactly() -> None:
    headers = {
        (t, z): with_frame(header, trigger_time_ms=None, temporal_position=t + 1)
        for (t, z), header in stack_headers(3, 6).items()
    }
    del headers[0, 1]
    grid = build_grid(headers.values())
    assert "slice 2: phase 1 missing" in grid.missing


def test_acquisition_time_orders_as_the_last_resort() -> None:
    headers = [
        with_frame(header, trigger_time_ms=None, clock_ms=1e6 * (z + 1) + 50 * t)
        for (t, z), header in stack_headers(3, 4).items()
    ]
    grid = build_grid(headers)
    assert uids(grid) == expected_uids(3, 4)
    np.testing.assert_allclose(grid.trigger_times_ms, [0, 50, 100, 150])


def test_a_trigger_time_that_never_changes_tells_nothing() -> None:
    headers = [
        with_frame(header, trigger_time_ms=0.0, clock_ms=50.0 * t)
        for (t, z), header in stack_headers(3, 4).items()
    ]
    assert build_grid(headers).n_phases == 4


def test_no_times() -> None:
    headers = stack_headers(3, 4)
    without = [with_frame(header, trigger_time_ms=None) for header in headers.values()]
    refused(without, "no_times")
    headers[2, 1] = with_frame(headers[2, 1], trigger_time_ms=None)
    refused(list(headers.values()), "no_times", f"{SERIES}.2.3")


def test_of_two_images_of_one_phase_the_later_acquisition_counts() -> None:
    headers = stack_headers(4, 5)
    later = instance_header("9.9", frame_header(16, 50.0), acquired_at="20200101110000")
    earlier = instance_header("9.8", frame_header(16, 90.0), acquired_at="20200101090000")
    grid = build_grid([*headers.values(), later, earlier])
    assert grid.cells[1][2].cell.instance.sop_instance_uid == "9.9"
    assert grid.cells[2][2].cell.instance.sop_instance_uid == f"{SERIES}.3.3"
    assert grid.left_out == (f"{SERIES}.3.2", "9.8")
    assert (grid.holes, grid.n_phases) == (0, 5)
    assert any("9.8" in words for words in grid.missing)


@pytest.mark.parametrize("series", [SERIES, "1.2.3.5"])
def test_a_slice_taken_again_at_another_heart_rate_replaces_the_first(series: str) -> None:
    headers = stack_headers(5, 10)
    again = [
        instance_header(
            f"9.{t}",
            frame_header(16, 10 + 46.0 * t),
            acquired_at="20200101110000",
            series_instance_uid=series,
        )
        for t in range(10)
    ]
    grid = build_grid([*again, *headers.values()])
    assert (grid.n_phases, grid.n_slices, grid.holes) == (10, 5, 0)
    assert [row[2] for row in uids(grid)] == [f"9.{t}" for t in range(10)]
    assert len(grid.left_out) == 10


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"patient_id": "P2"}, "mixed_patient"),
        ({"study_instance_uid": "1.9"}, "mixed_study"),
        ({"frame_of_reference_uid": "1.9"}, "mixed_frame_of_reference"),
        ({"rows": 8}, "mixed_matrix"),
    ],
)
def test_a_mixture_is_refused_by_the_odd_instance(change: dict[str, object], code: str) -> None:
    headers = stack_headers()
    headers[3, 2] = replace(headers[3, 2], **change)
    rejection = refused(list(headers.values()), code, headers[3, 2].sop_instance_uid)
    assert "P1" not in str(rejection)
    assert "P2" not in str(rejection)


def test_mixed_pixel_spacing_and_tilted_slice() -> None:
    headers = stack_headers()
    odd = headers[3, 2].sop_instance_uid
    spaced = headers | {(3, 2): with_frame(headers[3, 2], pixel_spacing_mm=(1.5, 1.27))}
    refused(list(spaced.values()), "mixed_pixel_spacing", odd)
    angle = np.radians(5)
    tilted_row = np.cos(angle) * ROW + np.sin(angle) * NORMAL
    tilted = with_frame(headers[3, 2], orientation=(*map(float, tilted_row), *COLUMN))
    rejection = refused(list((headers | {(3, 2): tilted}).values()), "mixed_orientation", odd)
    assert "5.0 degrees" in rejection.reason


def test_pixels_too_coarse_for_a_heart_are_refused() -> None:
    headers = stack_headers()
    coarse = {key: with_frame(one, pixel_spacing_mm=(5.85, 5.85)) for key, one in headers.items()}
    rejection = refused(list(coarse.values()), "implausible_pixel_spacing")
    assert "5.85 mm" in rejection.reason


def test_rotation_within_the_plane_is_another_orientation() -> None:
    headers = stack_headers()
    turned = with_frame(headers[0, 0], orientation=(*COLUMN, *-ROW))
    refused(
        list((headers | {(0, 0): turned}).values()),
        "mixed_orientation",
        headers[0, 0].sop_instance_uid,
    )


@pytest.mark.parametrize(
    "change",
    [
        {"position_mm": None},
        {"orientation": None},
        {"orientation": (1.0, 0.0, 0.0, 1.0, 0.0, 0.0)},
        {"orientation": (0.0,) * 6},
        {"pixel_spacing_mm": None},
        {"pixel_spacing_mm": (0.0, 1.0)},
        {"pixel_spacing_mm": (1e-9, 1e-9)},
        {"pixel_spacing_mm": (1e200, 1e200)},
    ],
)
def test_no_geometry(change: dict[str, object]) -> None:
    headers = stack_headers()
    headers[3, 2] = with_frame(headers[3, 2], **change)
    refused(list(headers.values()), "no_geometry", headers[3, 2].sop_instance_uid)


def test_no_images() -> None:
    refused([], "no_images")
    refused([instance_header("1.2")], "no_images")


def test_a_frame_of_reference_of_its_own_in_each_instance_says_nothing() -> None:
    headers = [
        replace(header, frame_of_reference_uid=f"1.9.{number}")
        for number, header in enumerate(stack_headers().values())
    ]
    assert build_grid(headers).n_slices == 5


def test_enhanced_instance() -> None:
    frames = [
        frame_header(8.0 * z, 40.0 * t, frame_number=5 * z + t + 1)
        for z in range(4)
        for t in range(5)
    ]
    grid = build_grid([instance_header("1.2", *frames)])
    numbers = [[cell.cell.frame.frame_number for cell in row] for row in grid.cells]
    assert numbers == [[5 * z + t + 1 for z in range(4)] for t in range(5)]


def test_declared_counts() -> None:
    grid = build_grid(stack_headers(4, 5, images_in_acquisition=25, cardiac_images=6).values())
    assert (grid.declared_instances, grid.declared_phases) == (25, 6)
    assert grid.missing == ("declared: 6 phases, there: 5", "declared: 25 images, there: 20")
    assert grid.missing_fraction == 0


def test_declared_counts_of_other_meanings() -> None:
    per_slice = build_grid(stack_headers(4, 5, images_in_acquisition=5, cardiac_images=5).values())
    assert per_slice.declared_instances is None
    all_slices = build_grid(stack_headers(4, 5, cardiac_images=20).values())
    assert all_slices.declared_phases == 5
    assert build_grid(stack_headers(4, 5).values()).declared_phases is None


def test_declared_counts_of_several_series() -> None:
    headers = [
        replace(header, series_instance_uid=f"1.{z}")
        for (_, z), header in stack_headers(4, 5, images_in_acquisition=5).items()
    ]
    assert build_grid(headers).declared_instances is None
    headers = [replace(header, images_in_acquisition=25) for header in headers]
    assert build_grid(headers).declared_instances == 25
    headers[0] = replace(headers[0], images_in_acquisition=None)
    assert build_grid(headers).declared_instances is None


@pytest.mark.parametrize("seed", range(4))
def test_phases_lost_in_every_slice_are_still_named(seed: int) -> None:
    rng = np.random.default_rng(seed)
    headers = stack_headers(10, 20, interval_ms=rng.uniform(35, 50, 10))
    lost = {z: int(phase) for z, phase in enumerate(rng.permutation(20)[:10])}
    for z, phase in lost.items():
        del headers[phase, z]
    grid = build_grid(headers.values())
    assert (grid.n_phases, grid.holes) == (20, 10)
    for z, phase in lost.items():
        assert grid.cells[phase][z] is None


def test_a_phase_lost_in_all_slices_is_named() -> None:
    headers = {key: header for key, header in stack_headers(5, 10).items() if key[0] != 6}
    grid = build_grid(headers.values())
    assert (grid.n_phases, grid.holes) == (10, 5)
    np.testing.assert_allclose(grid.trigger_times_ms, 10 + 40 * np.arange(10))


def test_one_slice_with_more_images_leaves_holes_in_the_others() -> None:
    headers = stack_headers(5, 10)
    headers[10, 2] = instance_header("9.9", frame_header(16, 410.0))
    grid = build_grid(headers.values())
    assert (grid.n_phases, grid.holes) == (11, 4)
    assert "slice 1: phase 11 missing" in grid.missing


def test_wild_times_do_not_make_a_huge_grid() -> None:
    headers = {
        (t, z): with_frame(header, trigger_time_ms=None, clock_ms=1e12 if t == 3 else 40.0 * t)
        for (t, z), header in stack_headers(4, 4).items()
    }
    assert build_grid(headers.values()).n_phases == 4


def test_uneven_phases_of_a_longest_slice() -> None:
    headers = stack_headers(4, 6)
    headers[5, 0] = with_frame(headers[5, 0], trigger_time_ms=10 + 40 * 6)
    for z in (1, 2, 3):
        del headers[5, z]
    grid = build_grid(headers.values())
    assert (grid.n_phases, grid.holes) == (6, 3)


def test_an_image_shifted_within_its_slice_is_refused() -> None:
    headers = stack_headers()
    moved = ORIGIN + 16 * NORMAL + 20 * ROW
    headers[3, 2] = with_frame(headers[3, 2], position_mm=tuple(map(float, moved)))
    refused(list(headers.values()), "mixed_position", headers[3, 2].sop_instance_uid)


def test_no_frame_of_reference() -> None:
    headers = list(stack_headers(frame_of_reference_uid="").values())
    refused(headers, "no_frame_of_reference")


@pytest.mark.parametrize(("folder", "slices"), [("SCD0000101", 12), ("SCD0000201", 13)])
def test_sunnybrook(real_data: Path, folder: str, slices: int) -> None:
    paths = (real_data / "sunnybrook" / "dicom" / folder).iterdir()
    headers = {path.stem: read_header(path) for path in paths}
    grid = build_grid(headers.values())
    assert (grid.n_slices, grid.n_phases, grid.holes) == (slices, 20, 0)
    assert (grid.missing_slices, grid.evenly_spaced) == (0, True)
    assert grid.slice_spacing_mm == pytest.approx(10, abs=1e-3)
    assert grid.declared_phases == 20
    assert grid.declared_instances in (280, 300)
    order = [headers[str(n + 1)].sop_instance_uid for n in range(20 * slices)]
    by_slice = [list(column) for column in zip(*uids(grid), strict=True)]
    expected = [order[20 * z : 20 * z + 20] for z in range(slices)]
    assert by_slice in (expected, expected[::-1])


def test_where_most_images_are_missing_none_of_the_others_has_a_stray_time() -> None:
    """Neighbours in time tell the interval, but their number no longer the length of the beat."""
    left = {at: header for at, header in stack_headers(5, 20).items() if at[0] in {0, 1, 2, 3, 19}}
    assert build_grid(left.values()).n_slices == 5


@pytest.mark.parametrize("phase", [0, 19])
def test_of_two_images_of_a_slice_the_one_with_the_stray_time_is_named(phase: int) -> None:
    headers = {at: header for at, header in stack_headers(5, 20).items() if at[0] in {0, 19}}
    headers[phase, 2] = with_frame(headers[phase, 2], trigger_time_ms=9000.0)
    with pytest.raises(Rejection, match="9e\\+03 ms lies outside the beat of its slice") as caught:
        build_grid(headers.values())
    assert caught.value.sop_instance_uid == headers[phase, 2].sop_instance_uid
