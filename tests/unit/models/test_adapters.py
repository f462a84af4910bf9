"""Adapters of the NIfTI sets in their public layouts, and what they say of damaged patients."""

import gzip

import numpy as np
import pytest
from nibabel.nifti1 import Nifti1Image
from structlog.testing import capture_logs

from models.split import SplitError
from models.training import acdc, data, mnms, sunnybrook
from models.training.cases import CaseError
from models.training.data import fitting_slices, is_there, prepare

AFFINE = np.diag([-1.4, -1.8, 10.0, 1.0])
SHAPE = (16, 12, 3, 5)


def write_acdc(folder, name, es=3):
    """One patient as published: a 4-D cine whose frame t holds t everywhere, and two frames."""
    here = folder / name
    here.mkdir(parents=True)
    (here / "Info.cfg").write_text(f"ED: 1\nES: {es}\nGroup: HCM\nHeight: 170.0\nNbFrame: 5\n")
    cine = np.broadcast_to(np.arange(5, dtype=np.int16), SHAPE)
    labels = np.zeros(SHAPE[:3], dtype=np.uint8)
    labels[4:8, 3:6, 1] = 3
    Nifti1Image(cine, AFFINE).to_filename(here / f"{name}_4d.nii.gz")
    for frame in (1, es):
        stem = here / f"{name}_frame{frame:02d}"
        Nifti1Image(cine[..., frame - 1], AFFINE).to_filename(f"{stem}.nii.gz")
        Nifti1Image(labels, AFFINE).to_filename(f"{stem}_gt.nii.gz")
    return here


@pytest.mark.parametrize("root", ["training", "acdc/training", "ACDC/database/testing"])
def test_acdc_is_found_as_published(tmp_path, root):
    write_acdc(tmp_path / root, "patient002")
    assert is_there(tmp_path, "acdc")
    ed, es = acdc.read_patient(tmp_path, "patient002")
    assert (ed.group, ed.images.max(), es.images.max()) == ("HCM", 0, 2)
    cine = acdc.read_cine(tmp_path, "patient002")
    assert cine.frames.shape == (5, 3, 12, 16)
    assert cine.frames[4, 0, 0, 0] == 4
    assert (cine.ed, cine.es) == (0, 2)
    assert cine.pixel_spacing_mm == pytest.approx((1.8, 1.4))


def test_the_official_test_patients_of_acdc_are_those_above_100(tmp_path):
    for name in ("patient100", "patient101", "patient150"):
        write_acdc(tmp_path / "acdc" / "testing", name)
    assert acdc.official_test_patients(tmp_path) == ("patient101", "patient150")
    assert acdc.official_test_patients(tmp_path / "acdc" / "testing") == ()


def test_no_set_is_there(tmp_path):
    there = {name for name in data.SETS if is_there(tmp_path, name)}
    simulated = {"synthetic_ecg_simulator"}  # where the simulator is installed
    drawn = {"synthetic", "synthetic_lge", "synthetic_ecg", "synthetic_spect"}
    assert there - simulated == drawn
    assert prepare(tmp_path, tmp_path / "prepared", "train", ("acdc", "studies")) == ()


def damage_missing_labels(folder):
    (folder / "patient002_frame03_gt.nii.gz").unlink()


def damage_cut_file(folder):
    path = folder / "patient002_frame01.nii.gz"
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def damage_no_nifti(folder):
    (folder / "patient002_frame01.nii.gz").write_bytes(gzip.compress(b"not an image"))


def damage_foreign_labels(folder):
    Nifti1Image(np.full(SHAPE[:3], 7, np.uint8), AFFINE).to_filename(
        folder / "patient002_frame01_gt.nii.gz"
    )


def damage_other_shape(folder):
    Nifti1Image(np.ones((4, 4, 3), np.uint8), AFFINE).to_filename(
        folder / "patient002_frame01_gt.nii.gz"
    )


def damage_no_label_at_all(folder):
    Nifti1Image(np.zeros(SHAPE[:3], np.uint8), AFFINE).to_filename(
        folder / "patient002_frame01_gt.nii.gz"
    )


def damage_no_frame(folder):
    (folder / "Info.cfg").write_text("ED: first\nES: 3\n")


def damage_spacing(folder):
    image = Nifti1Image(np.ones(SHAPE[:3], np.int16), np.diag([-1.4, -1.8, 900.0, 1.0]))
    image.to_filename(folder / "patient002_frame01.nii.gz")


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (damage_missing_labels, "frame03_gt.nii.gz is missing"),
        (damage_cut_file, "cannot be read"),
        (damage_no_nifti, "cannot be read"),
        (damage_foreign_labels, "labels from 7 to 7"),
        (damage_other_shape, "differ in shape"),
        (damage_no_label_at_all, "nothing is labelled as LV at ED"),
        (damage_no_frame, "which frame ED is"),
        (damage_spacing, "900"),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
def test_a_damaged_patient_is_named_and_the_rest_go_on(tmp_path, damage, reason, monkeypatch):
    monkeypatch.setattr(data, "patients", lambda *_: ("patient001", "patient002", "patient003"))
    for name in ("patient001", "patient002"):
        write_acdc(tmp_path / "training", name)
    damage(tmp_path / "training" / "patient002")
    with capture_logs() as said:
        slices = prepare(tmp_path, tmp_path / "prepared", "train", ("acdc",))
    assert {entry.patient for entry in slices} == {"patient001"}
    assert [entry["patient"] for entry in said] == ["patient002", "patient003"]
    assert reason in said[0]["reason"]
    assert "no folder" in said[1]["reason"]


def test_a_set_of_which_nothing_can_be_used_is_as_good_as_absent(tmp_path):
    folder = write_acdc(tmp_path / "training", "patient001")
    (folder / "Info.cfg").write_text("")
    with capture_logs():
        assert prepare(tmp_path, tmp_path / "prepared", "train", ("acdc",)) == ()


def test_a_cine_that_is_not_there_is_said(tmp_path):
    folder = write_acdc(tmp_path / "acdc" / "frames", "patient002")
    (folder / "patient002_4d.nii.gz").unlink()
    with pytest.raises(CaseError, match="whole cine is not there"):
        acdc.read_cine(tmp_path, "patient002")


@pytest.fixture
def mnms_like(tmp_path):
    """Two patients of M&Ms: one of the training part, one of the test part."""
    root = tmp_path / "mnms"
    for part, code in (("Training/Labeled", "A0S9V9"), ("Testing", "B1C2D3")):
        folder = root / part / code
        folder.mkdir(parents=True)
        labels = np.zeros(SHAPE, dtype=np.uint8)
        labels[4:8, 3:6, 1, 1], labels[8:9, 3:6, 1, 1], labels[9:12, 3:6, 1, 1] = 1, 2, 3
        labels[5:7, 3:6, 1, 4] = 1
        cine = np.broadcast_to(np.arange(5, dtype=np.int16), SHAPE)
        Nifti1Image(cine, AFFINE).to_filename(folder / f"{code}_sa.nii.gz")
        Nifti1Image(labels, AFFINE).to_filename(folder / f"{code}_sa_gt.nii.gz")
    (root / "another.csv").write_text("a,b\n1,2\n")
    (root / "info.csv").write_text(
        ",External code,VendorName,Vendor,Centre,ED,ES\n"
        "0,A0S9V9,Siemens,A,1,1,4\n1,B1C2D3,Philips,B,2,1,3\n"
    )
    return tmp_path


def test_mnms_codes_frames_and_vendor(mnms_like):
    ed, es = mnms.read_patient(mnms_like, "A0S9V9")
    assert (ed.images.max(), es.images.max()) == (1, 4)
    assert ed.group == "Siemens"
    assert [ed.labels[1, 3, column] for column in (5, 8, 10)] == [1, 2, 3]
    assert (es.labels > 0).sum() == 6


def test_mnms_brings_its_own_split(mnms_like):
    assert data.patients(mnms_like, "mnms", "train") == ("A0S9V9",)
    assert data.patients(mnms_like, "mnms", "validation") == ()
    assert data.patients(mnms_like, "mnms", "test") == ("B1C2D3",)
    assert {entry.dataset for entry in fitting_slices(mnms_like, "mnms", "train")} == {"mnms"}
    with pytest.raises(SplitError):
        next(fitting_slices(mnms_like, "mnms", "test"))


def test_an_mnms_frame_without_labels_is_refused(mnms_like):
    with pytest.raises(CaseError, match="frame of ES has no labels"):
        mnms.read_patient(mnms_like, "B1C2D3")
    assert mnms.read_cine(mnms_like, "B1C2D3").es == 3
    (mnms_like / "mnms" / "info.csv").write_text("External code,ED,ES\nA0S9V9,1,9\n")
    with pytest.raises(CaseError, match="which of 5 frames ES is"):
        mnms.read_cine(mnms_like, "A0S9V9")
    with pytest.raises(CaseError, match="CSV or folders"):
        mnms.read_patient(mnms_like, "X")


def test_a_damaged_or_absent_patient_of_sunnybrook_is_said(tmp_path):
    root = tmp_path / "sunnybrook" / "labelled_slices"
    for kind in ("images", "endo"):
        (root / kind).mkdir(parents=True)
    with pytest.raises(CaseError, match="both ED and ES"):
        sunnybrook.read_patient(tmp_path, "SC-N-02")
    (root / "images" / "SC-N-02-IM-0001-0019.png").write_bytes(b"not a picture")
    with pytest.raises(CaseError, match=r"images/SC-N-02-IM-0001-0019\.png cannot be read"):
        sunnybrook.read_patient(tmp_path, "SC-N-02")


def test_real_cine_and_volumes_are_of_one_heart(real_data):
    ed, _ = acdc.read_patient(real_data, "patient010")
    cine = acdc.read_cine(real_data, "patient010")
    assert cine.pixel_spacing_mm == pytest.approx(ed.pixel_spacing_mm, abs=0.01)
    assert (len(cine.frames), cine.ed, cine.es, cine.group) == (28, 0, 12, "DCM")
