"""From files to a typed stack."""

import random
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydicom import Dataset, dcmread

from config.schema import CINE_ROUTE, CineSettings
from pipeline.assemble import assemble
from pipeline.case import CineStack
from pipeline.errors import Rejection
from pipeline.headers import read_header
from pipeline.routing import Proposal, propose
from pipeline.versions import digest_file
from tests.unit.pipeline.dicom_cases import (
    COLUMN,
    NORMAL,
    ORIGIN,
    ROW,
    SERIES,
    dataset,
    enhanced_dataset,
    save,
    set_pixels,
)

SLICES, PHASES = 4, 6
STORED = np.random.default_rng(3).integers(0, 4096, (PHASES, SLICES, 4, 5), dtype=np.uint16)
SETTINGS = CineSettings()
Files = dict[str, Path]


def classic(t: int, z: int) -> Dataset:
    data = dataset(f"{SERIES}.{z + 1}.{t + 1}", 8.0 * z, 15 + (40.0 + z) * t)
    # Numbers that contradict the geometry must not count.
    data.InstanceNumber = 1000 - 10 * t - z
    set_pixels(data, STORED[t, z])
    return data


def write(folder: Path) -> Files:
    """A classic stack; file names say nothing of the order."""
    files = {}
    for t in range(PHASES):
        for z in range(SLICES):
            data = classic(t, z)
            path = folder / f"{(7 * t + 5 * z) % 31}-{t}-{z}.dcm"
            files[str(data.SOPInstanceUID)] = save(data, path)
    return files


def proposal_of(files: Files) -> Proposal:
    headers = tuple(read_header(path) for path in files.values())
    series = tuple(sorted({header.series_instance_uid for header in headers}))
    return Proposal(series, "cine", "", headers)


def assembled(files: Files, max_missing_fraction: float = 0.1) -> CineStack:
    chosen = CineSettings(max_missing_fraction=max_missing_fraction)
    return assemble(proposal_of(files), files, chosen)


def refused(files: Files, code: str, uid: str | None = None) -> Rejection:
    with pytest.raises(Rejection) as caught:
        assembled(files)
    assert (caught.value.code, caught.value.sop_instance_uid) == (code, uid)
    return caught.value


def uid_of(t: int, z: int) -> str:
    return f"{SERIES}.{z + 1}.{t + 1}"


def test_stack(tmp_path: Path) -> None:
    files = write(tmp_path)
    stack = assembled(files)
    assert stack.frames.dtype == np.float32
    np.testing.assert_array_equal(stack.frames, STORED)
    np.testing.assert_allclose(stack.row_cosines, ROW, atol=1e-6)
    np.testing.assert_allclose(stack.column_cosines, COLUMN, atol=1e-6)
    np.testing.assert_allclose(stack.normal, NORMAL, atol=1e-6)
    expected = ORIGIN + 8 * np.arange(SLICES)[:, None] * NORMAL
    np.testing.assert_allclose(stack.positions_mm, expected, atol=1e-5)
    assert stack.pixel_spacing_mm == (1.5, 1.25)
    assert stack.slice_spacing_mm == pytest.approx(8, abs=1e-5)
    np.testing.assert_allclose(stack.slice_extent_mm, [8] * SLICES, atol=1e-5)
    np.testing.assert_allclose(stack.trigger_times_ms, 15 + 41.5 * np.arange(PHASES))
    assert (stack.missing, stack.missing_fraction) == ((), 0.0)
    assert stack.series_instance_uids == (SERIES,)


def test_sources_digests_and_headers(tmp_path: Path) -> None:
    files = write(tmp_path)
    stack = assembled(files)
    source = stack.sources[2][3]
    assert source is not None
    assert (source.sop_instance_uid, source.frame_number) == (uid_of(2, 3), None)
    assert source.trigger_time_ms == 15 + 43 * 2
    assert stack.digests == {uid: digest_file(path) for uid, path in files.items()}
    assert set(stack.headers) == set(files)
    header = stack.headers[uid_of(2, 3)]
    assert header.PatientName == "Nobody"
    assert "PixelData" not in header


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=5)
@given(rng=st.randoms(use_true_random=False))
def test_order_of_headers_does_not_count(
    rng: random.Random, tmp_path_factory: pytest.TempPathFactory
) -> None:
    files = write(tmp_path_factory.mktemp("stack"))
    proposal = proposal_of(files)
    headers = list(proposal.headers)
    rng.shuffle(headers)
    stack = assemble(replace(proposal, headers=tuple(headers)), files, SETTINGS)
    np.testing.assert_array_equal(stack.frames, STORED)


def test_affine_maps_voxels_to_the_patient_and_inverts(tmp_path: Path) -> None:
    affine = assembled(write(tmp_path)).affine
    voxel = np.array([3, 2, 1, 1.0])
    expected = ORIGIN + 3 * 1.25 * ROW + 2 * 1.5 * COLUMN + 8 * NORMAL
    np.testing.assert_allclose((affine @ voxel)[:3], expected, atol=1e-5)
    np.testing.assert_allclose(np.linalg.inv(affine) @ affine @ voxel, voxel, atol=1e-9)
    assert np.linalg.det(affine[:3, :3]) > 0


def test_enhanced_equals_classic(tmp_path: Path) -> None:
    data = enhanced_dataset(SLICES, PHASES, STORED)
    path = save(data, tmp_path / "enhanced.dcm")
    uid = str(data.SOPInstanceUID)
    stack = assembled({uid: path})
    np.testing.assert_array_equal(stack.frames, STORED)
    np.testing.assert_allclose(stack.trigger_times_ms, 40 * np.arange(PHASES))
    assert set(stack.headers) == set(stack.digests) == {uid}
    # Frames run from the last slice to the first.
    numbers = [[cell and cell.frame_number for cell in row] for row in stack.sources]
    assert numbers[2] == [PHASES * (SLICES - 1 - z) + 3 for z in range(SLICES)]
    assert {cell.sop_class_uid for row in stack.sources for cell in row if cell} == {
        "1.2.840.10008.5.1.4.1.1.4.1"
    }


@pytest.mark.parametrize(("gone", "shown"), [(0, 1), (3, 2), (5, 4)])
def test_a_hole_shows_the_nearest_image_and_has_no_source(
    gone: int, shown: int, tmp_path: Path
) -> None:
    files = write(tmp_path)
    del files[uid_of(gone, 2)]
    stack = assembled(files)
    np.testing.assert_array_equal(stack.frames[gone, 2], STORED[shown, 2])
    assert stack.sources[gone][2] is None
    assert stack.missing == (f"slice 3: phase {gone + 1} missing",)
    assert stack.missing_fraction == pytest.approx(1 / (SLICES * PHASES))


def test_too_many_holes_are_refused_by_name(tmp_path: Path) -> None:
    files = write(tmp_path)
    for t in (1, 2, 4):
        del files[uid_of(t, 2)]
    rejection = refused(files, "too_much_missing")
    assert rejection.reason == (
        "12% of the images are missing (of the 6 phases and 4 slices that were seen), 10% may be: "
        "slice 3: phases 2, 3, 5 missing"
    )
    assert assembled(files, 0.2).sources[4][2] is None


def test_a_missing_slice_is_named_and_bridged(tmp_path: Path) -> None:
    files = write(tmp_path)
    for t in range(PHASES):
        del files[uid_of(t, 2)]
    stack = assembled(files)
    assert stack.missing == ("between slices 2 and 3: 1 slice missing",)
    assert stack.missing_fraction == pytest.approx(0.25)
    np.testing.assert_allclose(stack.slice_extent_mm, [8, 12, 12], atol=1e-5)


def test_too_few_slices(tmp_path: Path) -> None:
    files = write(tmp_path)
    for t in range(PHASES):
        del files[uid_of(t, 2)], files[uid_of(t, 3)]
    refused(files, "too_few_slices")


def test_a_series_per_slice(tmp_path: Path) -> None:
    files = write(tmp_path)
    for path in files.values():
        data = dcmread(path)
        data.SeriesInstanceUID = f"1.9.{int(data.SOPInstanceUID.split('.')[-2])}"
        save(data, path)
    (proposal,) = propose([read_header(path) for path in files.values()], (CINE_ROUTE,))
    stack = assemble(proposal, files, SETTINGS)
    np.testing.assert_array_equal(stack.frames, STORED)
    assert stack.series_instance_uids == ("1.9.1", "1.9.2", "1.9.3", "1.9.4")


def test_a_repeat_that_is_left_out_is_no_source(tmp_path: Path) -> None:
    files = write(tmp_path)
    again = classic(2, 1)
    again.SOPInstanceUID = again.file_meta.MediaStorageSOPInstanceUID = "1.2.9"
    again.AcquisitionTime = "110000"
    set_pixels(again, STORED[2, 1] // 2)
    files["1.2.9"] = save(again, tmp_path / "again.dcm")
    stack = assembled(files)
    np.testing.assert_array_equal(stack.frames[2, 1], STORED[2, 1] // 2)
    assert uid_of(2, 1) not in stack.digests
    assert any(uid_of(2, 1) in words for words in stack.missing)


def test_mixed_matrix_is_refused_by_the_odd_instance(tmp_path: Path) -> None:
    files = write(tmp_path)
    odd = classic(1, 1)
    set_pixels(odd, np.zeros((6, 6), np.uint16))
    save(odd, files[uid_of(1, 1)])
    refused(files, "mixed_matrix", uid_of(1, 1))


def test_truncated_instance_is_named(tmp_path: Path) -> None:
    files = write(tmp_path)
    path = files[uid_of(3, 0)]
    path.write_bytes(path.read_bytes()[:-10])
    refused(files, "unreadable_pixels", uid_of(3, 0))


def test_a_file_that_is_not_given_is_named(tmp_path: Path) -> None:
    files = write(tmp_path)
    proposal = proposal_of(files)
    del files[uid_of(3, 0)]
    with pytest.raises(Rejection) as caught:
        assemble(proposal, files, SETTINGS)
    assert (caught.value.code, caught.value.sop_instance_uid) == ("missing_file", uid_of(3, 0))


def test_frames_that_no_functional_group_announces_are_refused(tmp_path: Path) -> None:
    data = enhanced_dataset(SLICES, PHASES, STORED)
    groups = list(data.PerFrameFunctionalGroupsSequence)
    data.PerFrameFunctionalGroupsSequence = groups[:-1]
    uid = str(data.SOPInstanceUID)
    refused({uid: save(data, tmp_path / "a.dcm")}, "unreadable_pixels", uid)


def test_frames_other_than_the_stated_number_are_refused(tmp_path: Path) -> None:
    data = enhanced_dataset(SLICES, PHASES, STORED)
    data.NumberOfFrames = SLICES * PHASES // 2  # groups and pixels agree on the whole
    uid = str(data.SOPInstanceUID)
    refused({uid: save(data, tmp_path / "a.dcm")}, "unreadable_pixels", uid)


def test_several_frames_in_a_classic_instance_are_refused(tmp_path: Path) -> None:
    files = write(tmp_path)
    odd = classic(1, 1)
    set_pixels(odd, np.stack([STORED[1, 1]] * 2))
    save(odd, files[uid_of(1, 1)])
    refused(files, "unreadable_pixels", uid_of(1, 1))


def test_an_announced_giant_takes_no_memory(tmp_path: Path) -> None:
    files = write(tmp_path)
    for path in files.values():
        data = dcmread(path)
        data.Rows = data.Columns = 65535
        save(data, path)
    with pytest.raises(Rejection) as caught:
        assembled(files)
    assert caught.value.code == "unreadable_pixels"


def test_images_of_another_kind_are_refused(tmp_path: Path) -> None:
    files = write(tmp_path)
    odd = classic(1, 1)
    odd.PhotometricInterpretation, odd.SamplesPerPixel = "RGB", 3
    save(odd, files[uid_of(1, 1)])
    refused(files, "not_greyscale", uid_of(1, 1))


@pytest.mark.parametrize(("folder", "slices"), [("SCD0000101", 12), ("SCD0000201", 13)])
def test_sunnybrook(real_data: Path, folder: str, slices: int) -> None:
    paths = list((real_data / "sunnybrook" / "dicom" / folder).iterdir())
    headers = [read_header(path) for path in paths]
    files = {header.sop_instance_uid: path for header, path in zip(headers, paths, strict=True)}
    (proposal,) = propose(headers, (CINE_ROUTE,))
    stack = assemble(proposal, files, SETTINGS)
    assert stack.frames.shape == (20, slices, 256, 256)
    assert all(cell is not None for row in stack.sources for cell in row)
    assert stack.missing_fraction == 0
    assert stack.slice_spacing_mm == pytest.approx(10, abs=1e-3)
    # A beating heart: the images of a slice resemble each other more than those of two slices.
    in_time = np.abs(np.diff(stack.frames, axis=0)).mean()
    in_space = np.abs(np.diff(stack.frames, axis=1)).mean()
    assert in_time < 0.5 * in_space
