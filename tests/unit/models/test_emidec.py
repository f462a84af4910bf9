"""EMIDEC in both layouts: order, codes, spacing, and what is said of damaged cases."""

import numpy as np
import pytest
from nibabel.nifti1 import Nifti1Image
from PIL import Image

from models.split import patients
from models.training import emidec
from models.training.cases import CaseError
from models.training.data import fitting_slices, is_there
from models.training.slices import allowed_bits
from models.training.synthetic import synthetic_lge


def labels_of(slices=3, height=24, width=12):
    """Ellipses that grow from apex (slice 0) to base; infarct and no-reflow in the last."""
    rows, columns = np.mgrid[:64, :80]
    labels = np.zeros((slices, 64, 80), dtype=np.uint8)
    for z, size in enumerate(np.linspace(0.6, 1.0, slices)):
        far = np.hypot((rows - 30) / height, (columns - 44) / width)
        labels[z][far < size] = 2
        labels[z][far < 0.6 * size] = 1
    wall = np.argwhere(labels[-1] == 2)
    for code, part in ((3, wall[:20]), (4, wall[20:25])):
        labels[-1][tuple(part.T)] = code
    return labels


def write_png(data, case="Case_P001", **shape):
    labels = labels_of(**shape)
    for folder, values in (("images", labels * 50 + 10), ("labels", labels)):
        here = data / "emidec" / folder
        here.mkdir(parents=True, exist_ok=True)
        for z, entry in enumerate(values):
            Image.fromarray(entry).save(here / f"{case}_slice{z:03d}.png")
    return labels


def write_nifti(data, case="Case_P001"):
    labels = labels_of()
    for folder, values in (("Images", labels * 50 - 20.0), ("Contours", labels)):
        here = data / "emidec-dataset-1.0.1" / case / folder
        here.mkdir(parents=True)
        image = Nifti1Image(np.asarray(values, np.float32).T, np.diag([1.5, 1.6, 9.0, 1.0]))
        image.to_filename(here / f"{case}.nii.gz")
    return labels


def test_png_come_from_base_to_apex_with_their_codes(tmp_path):
    labels = write_png(tmp_path)
    assert is_there(tmp_path, "emidec")
    case = emidec.read_case(tmp_path, "Case_P001")
    turned = labels[::-1, ::-1, ::-1].transpose(0, 2, 1)
    np.testing.assert_array_equal(case.labels, turned)
    np.testing.assert_array_equal(case.images, turned * 50 + 10)
    assert (case.phase, case.group, case.spacing_is_known) == ("lge", "infarct", False)


def test_a_stretched_heart_becomes_round(tmp_path):
    write_png(tmp_path, height=24, width=12)
    rows_mm, columns_mm = emidec.read_case(tmp_path, "Case_P001").pixel_spacing_mm
    assert rows_mm / columns_mm == pytest.approx(2, rel=0.06)
    assert rows_mm * columns_mm == pytest.approx(1.4**2)


def test_nifti_as_published(tmp_path):
    labels = write_nifti(tmp_path)
    assert is_there(tmp_path, "emidec")
    case = emidec.read_case(tmp_path, "Case_P001")
    np.testing.assert_array_equal(case.labels, labels[::-1])
    assert case.images.min() == 0
    assert case.pixel_spacing_mm == pytest.approx((1.6, 1.5))
    assert (case.slice_spacing_mm, case.spacing_is_known) == (pytest.approx(9), True)


def test_the_bits_of_scar_become_those_of_the_heart(tmp_path):
    write_png(tmp_path)
    scar = tuple(emidec.emidec_slices(tmp_path, ("Case_P001",)))
    assert [entry.position for entry in scar] == [0, 1, 2]
    assert set(np.unique(scar[0].allowed)) == {1, 2, 4, 8, 16}
    heart = emidec.as_hearts(scar)
    either = allowed_bits(0, 3)
    for before, after in ((1, either), (2, 2), (4, 4), (8, 4), (16, 4)):
        assert set(heart[0].allowed[scar[0].allowed == before]) == {after}


def cut_label(data):
    (data / "emidec" / "labels" / "Case_P001_slice001.png").write_bytes(b"no image")


def foreign_label(data):
    Image.fromarray(np.full((64, 80), 7, np.uint8)).save(
        data / "emidec" / "labels" / "Case_P001_slice001.png"
    )


def other_shape(data):
    Image.fromarray(np.ones((4, 4), np.uint8)).save(
        data / "emidec" / "labels" / "Case_P001_slice001.png"
    )


def no_label(data):
    for path in (data / "emidec" / "labels").iterdir():
        Image.fromarray(np.zeros((64, 80), np.uint8)).save(path)


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (cut_label, "cannot be read"),
        (foreign_label, "above 4"),
        (other_shape, "differ in shape"),
        (no_label, "no pixel"),
    ],
)
def test_a_damaged_case_says_why(tmp_path, damage, reason):
    write_png(tmp_path)
    damage(tmp_path)
    with pytest.raises(CaseError, match=reason):
        emidec.read_case(tmp_path, "Case_P001")


def test_a_case_that_is_not_there(tmp_path):
    with pytest.raises(CaseError, match="not there"):
        emidec.read_case(tmp_path, "Case_P001")


def test_the_held_out_cases_are_five_normal_and_eleven_with_infarct(real_data):
    groups = [emidec.read_case(real_data, name).group for name in patients("emidec", "test")]
    assert (groups.count("no infarct"), groups.count("infarct")) == (5, 11)


def test_real_slices_all_show_the_lv(real_data):
    slices = list(fitting_slices(real_data, "emidec", "validation"))
    assert len({entry.patient for entry in slices}) == 8
    assert all(entry.shows_lv for entry in slices)


@pytest.mark.parametrize(("seed", "group"), [(1000, "no infarct"), (1001, "infarct")])
def test_synthetic_late_enhancement_is_labelled_as_emidec_is(seed, group):
    stack = synthetic_lge(seed)
    assert stack.group == group
    shown = set(np.unique(stack.labels))
    assert shown - {4} == ({0, 1, 2, 3} if group == "infarct" else {0, 1, 2})
    assert not stack.labels[0].any()
    assert stack.images.min() >= 0
    assert stack.images[stack.labels == 1].mean() > stack.images[stack.labels == 2].mean()
