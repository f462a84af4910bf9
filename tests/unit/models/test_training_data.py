"""Adapters of the labelled sets, on files made here and on the real ones."""

from dataclasses import replace

import numpy as np
import pytest
from nibabel.nifti1 import Nifti1Image
from PIL import Image

from models import split
from models.split import PARTS, SplitError, never_fitted, patients
from models.training import acdc, sunnybrook, synthetic
from models.training.data import ADAPTERS, prepare, prepare_refit
from models.training.slices import allowed_bits, read_slices, write_slices


@pytest.fixture
def acdc_like(tmp_path):
    """One patient in the layout of ACDC: 30 columns, 20 rows, 3 slices, pixels not square."""
    folder = tmp_path / "acdc" / "frames" / "patient007"
    folder.mkdir(parents=True)
    (folder / "Info.cfg").write_text("ED: 1\nES: 12\nGroup: NOR\nHeight: 180.0\n")
    labels = np.zeros((30, 20, 3), dtype=np.uint8)
    labels[10:14, 5:9, 1] = 3
    labels[10:14, 9:11, 1] = 2
    labels[14:18, 5:9, 1] = 1
    image = np.arange(30 * 20 * 3, dtype=np.int16).reshape(30, 20, 3)
    affine = np.diag([-1.4, -1.8, 10.0, 1.0])
    for frame in ("01", "12"):
        Nifti1Image(image, affine).to_filename(folder / f"patient007_frame{frame}.nii.gz")
        Nifti1Image(labels, affine).to_filename(folder / f"patient007_frame{frame}_gt.nii.gz")
    return tmp_path


def test_acdc_axes_codes_and_spacing(acdc_like):
    ed, es = acdc.read_patient(acdc_like, "patient007")
    assert (ed.phase, es.phase) == ("ed", "es")
    assert ed.images.shape == (3, 20, 30)
    assert ed.images[2, 1, 4] == 4 * 60 + 1 * 3 + 2
    assert ed.pixel_spacing_mm == pytest.approx((1.8, 1.4))
    assert ed.slice_spacing_mm == pytest.approx(10)
    assert ed.labels[1, 6, 11] == 1
    assert ed.labels[1, 9, 11] == 2
    assert ed.labels[1, 6, 15] == 3


def test_acdc_slices_keep_the_empty_ones_and_share_the_centre(acdc_like):
    slices = list(acdc.acdc_slices(acdc_like, ("patient007",)))
    assert len(slices) == 6
    assert [entry.shows_lv for entry in slices] == [False, True, False] * 2
    assert {entry.centre_yx for entry in slices} == {(7.5, 11.5)}
    assert set(np.unique(slices[1].allowed)) == {1, 2, 4, 8}


def test_left_out_slices_next_to_the_base_at_es_may_show_the_lv_but_no_rv(acdc_like):
    """Index 0 is the base; at ED and beyond the apex experts agree that there is none."""
    slices = list(acdc.acdc_slices(acdc_like, ("patient007",)))
    allowed = [set(np.unique(entry.allowed)) for entry in slices]
    assert allowed[0] == allowed[2] == allowed[5] == {allowed_bits(0)}
    assert allowed[3] == {allowed_bits(0, 1, 2)}


@pytest.fixture
def sunnybrook_like(tmp_path):
    root = tmp_path / "sunnybrook" / "labelled_slices"
    for kind in ("images", "endo", "epi"):
        (root / kind).mkdir(parents=True)
    endo, epi = np.zeros((2, 64, 64), dtype=np.uint8)
    endo[28:36, 30:38] = 255
    epi[24:40, 26:42] = 255
    for instance in (19, 28, 39, 48):
        name = f"SC-N-99-IM-0001-{instance:04d}.png"
        Image.fromarray(np.full((64, 64), instance, np.uint8)).save(root / "images" / name)
        Image.fromarray(endo).save(root / "endo" / name)
        if instance in (19, 39):
            Image.fromarray(epi).save(root / "epi" / name)
    return tmp_path


def test_sunnybrook_phases_and_what_is_labelled(sunnybrook_like):
    slices = list(sunnybrook.sunnybrook_slices(sunnybrook_like, ("SC-N-99",)))
    assert [entry.phase for entry in slices] == ["ed", "es", "ed", "es"]
    ed, es = slices[:2]
    assert ed.allowed[32, 34] == allowed_bits(1)
    assert ed.allowed[25, 34] == allowed_bits(2)
    assert ed.allowed[5, 5] == allowed_bits(0, 3)
    assert es.allowed[32, 34] == allowed_bits(1)
    assert es.allowed[25, 34] == allowed_bits(0, 2, 3)
    assert not ed.spacing_is_known
    assert ed.centre_yx == (31.5, 33.5)
    assert ed.shows_lv


def test_slices_survive_the_array_file(invented_slices, tmp_path):
    write_slices(tmp_path / "new" / "a.npz", invented_slices)
    back = read_slices(tmp_path / "new" / "a.npz")
    for before, after in zip(invented_slices, back, strict=True):
        np.testing.assert_array_equal(before.image, after.image)
        np.testing.assert_array_equal(before.allowed, after.allowed)
        assert before.centre_yx == after.centre_yx
        assert (before.dataset, before.patient, before.phase, before.pixel_spacing_mm) == (
            after.dataset, after.patient, after.phase, after.pixel_spacing_mm,
        )  # fmt: skip


def test_an_absent_set_is_left_out(tmp_path):
    assert prepare(tmp_path, tmp_path / "prepared", "train", ("acdc", "sunnybrook")) == ()


def test_a_refit_takes_every_patient_but_those_never_fitted(invented_slices, tmp_path, monkeypatch):
    def some(_data, names):
        yield from (
            replace(invented_slices[0], dataset="sunnybrook", patient=name) for name in names
        )

    monkeypatch.setitem(ADAPTERS, "sunnybrook", some)
    (tmp_path / "sunnybrook").mkdir()
    prepare_refit(tmp_path, tmp_path / "prepared", ("sunnybrook", "mnms"))
    slices = prepare(tmp_path, tmp_path / "prepared", "train", ("sunnybrook",))
    fitted = {entry.patient for entry in slices}
    assert fitted == {name for part in PARTS for name in patients("sunnybrook", part)}
    assert not fitted & never_fitted()
    monkeypatch.setattr(split, "patients", lambda *_: tuple(never_fitted()))
    with pytest.raises(SplitError, match="not for fitting"):
        prepare_refit(tmp_path, tmp_path / "again", ("sunnybrook",))


def test_synthetic_hearts_of_a_seed_are_the_same_and_lie_where_labels_say():
    ed, es = synthetic.synthetic_volumes(3001)
    again, _ = synthetic.synthetic_volumes(3001)
    np.testing.assert_array_equal(ed.images, again.images)
    assert (ed.labels == 1).sum() > (es.labels == 1).sum()
    blood, wall = ed.images[ed.labels == 1].mean(), ed.images[ed.labels == 2].mean()
    assert blood > 1.3 * wall


def test_real_acdc_volumes_are_consistent(real_data):
    ed, es = acdc.read_patient(real_data, patients("acdc", "validation")[0])
    assert ed.images.shape == ed.labels.shape == es.images.shape
    millilitres = (ed.labels == 1).sum() * np.prod(ed.pixel_spacing_mm) * ed.slice_spacing_mm / 1000
    assert 40 < millilitres < 400
    assert (ed.labels == 1).sum() > (es.labels == 1).sum()


def test_real_sunnybrook_areas_match_its_table(real_data):
    name = patients("sunnybrook", "validation")[0]
    table = (real_data / "sunnybrook" / "labelled_slices" / "truth.csv").read_text()
    row = next(line for line in table.splitlines() if line.startswith(name + ","))
    edv_pixels, esv_pixels, ef, _ = row.rsplit(",", 4)[1:]
    areas = {"ed": 0, "es": 0}
    for entry in sunnybrook.read_patient(real_data, name):
        areas[entry.phase] += int(entry.endo.sum())
    assert areas == {"ed": int(edv_pixels), "es": int(esv_pixels)}
    assert 100 * (1 - areas["es"] / areas["ed"]) == pytest.approx(float(ef), abs=0.1)
