"""Which image of a slice counts in a late enhancement stack; the rules of `pipeline.lge_choice`."""

import random
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from pipeline.assemble import assemble_lge, grid_of
from pipeline.errors import Rejection
from pipeline.headers import InstanceHeader, read_header
from pipeline.lge_choice import Kind, choose, kind_of
from pipeline.routing import Proposal
from pipeline.versions import digest_file
from tests.unit.pipeline.dicom_cases import (
    SERIES,
    dataset,
    enhanced_dataset,
    frame_header,
    instance_header,
    item,
    save,
)

SLICES = 5
PSIR = {"image_type": ("ORIGINAL", "PRIMARY", "CR"), "series_instance_uid": "1.5"}


def image(z: int, *, ti: float | None = 280.0, uid: str = "", **changed: object) -> InstanceHeader:
    frame = frame_header(8.0 * z, None, inversion_time_ms=ti)
    return instance_header(uid or f"{SERIES}.{z}", frame, **changed)


def stack(**changed: object) -> list[InstanceHeader]:
    return [image(z, **changed) for z in range(SLICES)]


def psir(slices: range = range(SLICES)) -> list[InstanceHeader]:
    return [image(z, uid=f"1.5.{z}", **PSIR) for z in slices]


def chosen(headers: list[InstanceHeader]) -> list[str]:
    (row,) = choose(headers).grid.cells
    return [found.cell.instance.sop_instance_uid for found in row if found]


def reasons(headers: list[InstanceHeader]) -> dict[str, str]:
    return {one.sop_instance_uid: one.reason for one in choose(headers).left_out}


def test_one_image_per_slice_is_a_stack_of_one_phase():
    choice = choose(stack())
    assert (choice.grid.n_phases, choice.grid.n_slices, choice.grid.holes) == (1, SLICES, 0)
    assert not choice.phase_sensitive
    assert not choice.left_out
    assert chosen(stack()) == [f"{SERIES}.{z}" for z in range(SLICES)]


def test_the_order_of_arrival_decides_nothing():
    headers = [*stack(), *psir(), *stack(acquired_at="20200101110000", series_instance_uid="1.7")]
    headers = [
        replace(h, sop_instance_uid=f"{h.series_instance_uid}.{i}") for i, h in enumerate(headers)
    ]
    expected = choose(headers)
    shuffled = list(headers)
    random.Random(4).shuffle(shuffled)
    assert chosen(shuffled) == chosen(headers)
    assert choose(shuffled).left_out == expected.left_out


def test_phase_sensitive_images_are_preferred_and_the_magnitudes_named():
    headers = [*stack(), *psir()]
    assert chosen(headers) == [f"1.5.{z}" for z in range(SLICES)]
    assert choose(headers).phase_sensitive
    assert set(reasons(headers)) == {f"{SERIES}.{z}" for z in range(SLICES)}
    assert all(reason.startswith("magnitude image") for reason in reasons(headers).values())


def test_magnitudes_count_where_phase_sensitive_images_are_of_fewer_slices():
    headers = [*stack(), *psir(range(4))]
    assert chosen(headers) == [f"{SERIES}.{z}" for z in range(SLICES)]
    assert set(reasons(headers)) == {f"1.5.{z}" for z in range(4)}


def test_a_slice_taken_again_counts_as_taken_last():
    again = image(2, uid="0.2", ti=310.0, acquired_at="20200101100500")
    assert chosen([*stack(), again])[2] == "0.2"
    assert reasons([*stack(), again]) == {f"{SERIES}.2": "a later image of the same slice counts"}


def test_of_two_images_of_one_time_the_higher_instance_number_counts():
    first = [replace(one, instance_number=z + 10) for z, one in enumerate(stack())]
    second = [
        replace(one, sop_instance_uid=f"9.{z}", instance_number=z) for z, one in enumerate(stack())
    ]
    assert chosen([*first, *second]) == [f"{SERIES}.{z}" for z in range(SLICES)]


def test_of_several_inversion_times_that_of_most_slices_counts():
    others = [image(z, uid=f"9.{z}", ti=320.0, acquired_at="20200101120000") for z in range(4)]
    found = reasons([*stack(), *others])
    assert chosen([*stack(), *others]) == [f"{SERIES}.{z}" for z in range(SLICES)]
    assert set(found.values()) == {"inversion time 320 ms: of this slice that of 280 ms counts"}


@pytest.mark.parametrize(
    ("component", "image_type", "description", "kind"),
    [
        ("", ("ORIGINAL", "PRIMARY", "M", "ND"), "LGE_SA", Kind.MAGNITUDE),
        ("", ("ORIGINAL", "PRIMARY", "M", "ND"), "LGE_SA_PSIR", Kind.PHASE_SENSITIVE),
        ("", ("ORIGINAL", "PRIMARY", "M", "ND"), "LGE_PSIR_SA_MAG", Kind.MAGNITUDE),
        ("", ("ORIGINAL", "PRIMARY", "P", "ND"), "LGE_PSIR", Kind.PHASE_SENSITIVE),
        ("", ("ORIGINAL", "PRIMARY", "P", "ND"), "LGE", Kind.NO_CONTRAST),
        ("", ("ORIGINAL", "PRIMARY", "PHASE MAP", "P"), "PSIR", Kind.NO_CONTRAST),
        ("", ("ORIGINAL", "PRIMARY", "CR", "CR", "IR"), "LGE", Kind.PHASE_SENSITIVE),
        ("", ("ORIGINAL", "PRIMARY", "M_IR", "M", "IR"), "PSIR_SA", Kind.MAGNITUDE),
        ("REAL", ("ORIGINAL", "PRIMARY", "CARDIAC"), "", Kind.PHASE_SENSITIVE),
        ("PHASE", ("ORIGINAL", "PRIMARY", "CARDIAC"), "PSIR", Kind.NO_CONTRAST),
        ("MAGNITUDE", ("ORIGINAL", "PRIMARY", "CARDIAC"), "PSIR", Kind.MAGNITUDE),
    ],
)
def test_the_kind_of_an_image(component, image_type, description, kind):
    header = image(0, image_type=image_type, series_description=description)
    assert kind_of(header, component) is kind


def test_phase_maps_never_count():
    maps = [image(z, uid=f"9.{z}", image_type=("ORIGINAL", "PRIMARY", "P")) for z in range(SLICES)]
    assert chosen([*stack(), *maps]) == [f"{SERIES}.{z}" for z in range(SLICES)]
    assert all("phase or imaginary" in reason for reason in reasons([*stack(), *maps]).values())
    with pytest.raises(Rejection, match="no_images"):
        choose(maps)


def test_a_gap_is_a_missing_slice():
    grid = choose([one for z, one in enumerate(stack()) if z != 2]).grid
    assert grid.missing_slices == 1
    assert not grid.evenly_spaced


def test_other_patients_are_refused():
    with pytest.raises(Rejection, match="mixed_patient"):
        choose([*stack(), image(2, uid="9", patient_id="P2")])


def write(folder: Path, z: int, uid: str, value: int, **attributes: object) -> Path:
    data = dataset(uid, 8.0 * z, None)
    data.InversionTime = 280 + z
    pixels = np.full((4, 5), value, np.uint16)
    data.PixelData = pixels.tobytes()
    for keyword, content in attributes.items():
        setattr(data, keyword, content)
    return save(data, folder / f"{uid}.dcm")


def proposal_of(files: dict[str, Path]) -> Proposal:
    headers = tuple(read_header(path) for path in files.values())
    return Proposal((SERIES,), "lge", "", headers)


def test_files_become_a_stack_and_what_is_left_out_decides_the_result_too(tmp_path):
    files = {f"1.8.{z}": write(tmp_path, z, f"1.8.{z}", 100 + z) for z in range(4)}
    files["1.8.9"] = write(tmp_path, 1, "1.8.9", 7, AcquisitionTime="110000")
    found = assemble_lge(proposal_of(files), files)
    assert [int(frame.flat[0]) for frame in found.frames[0]] == [100, 7, 102, 103]
    assert found.inversion_times_ms == (280, 281, 282, 283)
    assert [one.sop_instance_uid for one in found.left_out] == ["1.8.1"]
    assert found.digests == {uid: digest_file(path) for uid, path in files.items()}
    assert "1.8.1" not in found.headers
    assert grid_of(proposal_of(files)).n_slices == 4


def test_an_enhanced_instance_with_real_and_magnitude_frames(tmp_path):
    stored = np.arange(2 * 4 * 4 * 5, dtype=np.uint16).reshape(2, 4, 4, 5)
    data = enhanced_dataset(4, 2, stored)
    for number, groups in enumerate(data.PerFrameFunctionalGroupsSequence):
        groups.MRModifierSequence = [item(InversionTimes=[300.0])]
        component = "REAL" if number % 2 else "MAGNITUDE"
        groups.MRImageFrameTypeSequence = [item(ComplexImageComponent=component)]
    files = {str(data.SOPInstanceUID): save(data, tmp_path / "e.dcm")}
    found = assemble_lge(proposal_of(files), files)
    assert found.phase_sensitive
    np.testing.assert_array_equal(found.frames[0], stored[1])
    assert {one.frame_number for one in found.left_out} == {1, 3, 5, 7}
    assert found.inversion_times_ms == (300.0,) * 4


def test_too_few_slices_are_refused(tmp_path):
    files = {f"1.8.{z}": write(tmp_path, z, f"1.8.{z}", 100) for z in range(2)}
    with pytest.raises(Rejection, match="too_few_slices"):
        assemble_lge(proposal_of(files), files)
