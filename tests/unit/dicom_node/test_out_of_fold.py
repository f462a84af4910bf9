"""Hearts of known group: measured by the node's own chain, judged, and learnt from out of fold."""

from dataclasses import replace

import numpy as np
import pytest
from nibabel.nifti1 import Nifti1Image

from dicom_node.out_of_fold import hearts_of, measure_acdc, out_of_fold
from models.backend import CPU
from models.disease_groups import CLASSES
from models.registry import card
from models.split import patients
from models.synthetic.cine import synthesise_cine
from models.training.case_file import read_cases
from models.training.evaluate import Evaluation, as_content
from models.training.evaluate_disease import evaluate_disease
from models.training.hearts import HeartCase
from models.training.slices import LabelledSlice, allowed_bits, write_slices
from tests.unit.pipeline.cine_cases import OracleLocaliser, OracleSegmenter, drawn_labels, shown
from tests.unit.pipeline.test_disease import Oracle

TRAIN = patients("acdc", "train")[:2]
(VALIDATION,) = patients("acdc", "validation")[:1]
_THEIR_CODES = np.array([0, 3, 2, 1], np.uint8)  # ACDC counts from the RV


def write_patient(data, name, group, labels, images=None):
    """A patient in the layout of ACDC whose ED and ES show labels [2, z, y, x]."""
    images = shown(labels) if images is None else images
    folder = data / "acdc" / "frames" / name
    folder.mkdir(parents=True)
    (folder / "Info.cfg").write_text(f"ED: 1\nES: 2\nGroup: {group}\n", encoding="utf-8")
    affine = np.diag([-1.5, -1.5, 10.0, 1.0])
    for frame, (one, image) in enumerate(zip(labels, images, strict=True), start=1):
        stem = folder / f"{name}_frame{frame:02d}"
        truth = _THEIR_CODES[one].T
        Nifti1Image(image.T.astype(np.float32), affine).to_filename(f"{stem}.nii.gz")
        Nifti1Image(truth, affine).to_filename(f"{stem}_gt.nii.gz")


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    heart = drawn_labels()[[0, 4]]
    write_patient(folder, TRAIN[0], "HCM", heart)
    write_patient(folder, TRAIN[1], "RV", heart)
    real = synthesise_cine(7, slices=8, phases=8)
    both = [real.ed, real.es]
    write_patient(folder, VALIDATION, "NOR", real.labels[both], real.frames[both])
    return folder


def oracles(data, disease=None):
    return measure_acdc(data, OracleLocaliser(), OracleSegmenter(), disease)


def test_a_patient_is_measured_by_the_whole_chain(data):
    oracle = Oracle()
    left_out = {}
    ((case, heart),) = hearts_of(TRAIN[:1], oracles(data, oracle), left_out.__setitem__)
    assert left_out == {}
    assert (heart.patient, CLASSES[heart.label]) == (TRAIN[0], "hypertrophic_cardiomyopathy")
    assert case.quality
    assert heart.images.shape[0] == 2
    assert heart.features["lv_ef"] == pytest.approx(52.7, abs=2)
    doubted = case.classification.withheld is not None
    assert doubted == (oracle.shown == [])
    assert "phases_count" not in {one.check for one in case.quality if one.verdict == "review"}


def test_who_cannot_be_measured_is_named_and_the_others_go_on(data, tmp_path):
    write_patient(tmp_path, TRAIN[0], "NOR", np.zeros((2, 12, 96, 96), np.uint8))
    write_patient(tmp_path, TRAIN[1], "NOR", drawn_labels()[[0, 4]])
    left_out = {}
    found = list(hearts_of(TRAIN, oracles(tmp_path), left_out.__setitem__))
    assert [heart.patient for _, heart in found] == [TRAIN[1]]
    assert left_out[TRAIN[0]].startswith("the chain rejects it")


def test_out_of_fold_writes_what_training_reads_and_goes_on_after_a_stop(data, tmp_path):
    allowed = np.full((40, 40), allowed_bits(0), np.uint8)
    allowed[15:25, 15:25] = allowed_bits(1)
    one = LabelledSlice(
        np.arange(1600, dtype=np.uint16).reshape(40, 40).astype(np.uint8), allowed, (1.5, 1.5),
        (20.0, 20.0), "acdc", TRAIN[0], "ed",
    )  # fmt: skip
    kept = tmp_path / "folds" / "prepared"
    write_slices(kept / "acdc-train.npz", [one, replace(one, patient=TRAIN[1])])
    write_slices(kept / "acdc-validation.npz", [replace(one, patient=VALIDATION)])
    for dataset in ("sunnybrook", "synthetic"):
        for part in ("train", "validation"):
            write_slices(
                kept / f"{dataset}-{part}.npz", [replace(one, dataset=dataset, patient="another")]
            )
    options = {"folds": 2, "steps": 1, "backend": CPU}
    said = []
    written = out_of_fold(data, tmp_path, **options, say=said.append)
    assert list(written) == ["train", "validation"]
    (validation,) = read_cases(written["validation"], HeartCase)
    assert validation.patient == VALIDATION
    assert CLASSES[validation.label] == "normal"
    read_cases(written["train"], HeartCase)  # networks of one step may find no heart
    assert [line for line in said if line.startswith("fold")] == [
        "fold 1 of 2: 1 patients left out", "fold 2 of 2: 1 patients left out",
    ]  # fmt: skip
    written["validation"].unlink()
    again = []
    out_of_fold(data, tmp_path, **options, say=again.append)
    assert again == [f"{VALIDATION}: measured"]


def test_an_evaluation_tells_patients_and_slices_and_those_that_are_stated(tmp_path):
    class Classifier:
        classes = CLASSES

        def read(self, heart):
            from models.picture_classifier import Reading

            found = int(heart.features["says"])
            return Reading(tuple(0.8 if i == found else 0.05 for i in range(5)), 1.0, None)

        def slices(self, heart):
            import torch

            return torch.eye(5)[[0, 1]]

    def heart(label, says):
        images = np.zeros((2, 2, 4, 4), np.uint8)
        return HeartCase("acdc", f"p{label}{says}", label, {"says": says}, images, (1, 1), (2, 2))

    hearts = [(heart(0, 0), True), (heart(1, 1), True), (heart(2, 1), False), (heart(3, 3), False)]
    evaluation = Evaluation(card("cine_unet"), "test", tmp_path, say=lambda _: None)
    evaluate_disease(evaluation, Classifier(), hearts)
    pooled = as_content(evaluation)["pooled"]
    assert pooled["acdc_classes"]["accuracy"] == 0.75
    assert pooled["acdc_classes"]["dilated_cardiomyopathy_as_infarction"] == 1
    assert pooled["acdc_classes"]["sensitivity_dilated_cardiomyopathy"] == 0
    assert pooled["acdc_classes"]["accuracy_ci95_low"] == pytest.approx(0.3006, abs=1e-4)
    assert pooled["acdc_stated_classes"]["accuracy"] == 1
    assert pooled["acdc_stated_classes"]["patients"] == 2
    assert pooled["acdc_slices"]["accuracy"] == pytest.approx(2 / 8)
