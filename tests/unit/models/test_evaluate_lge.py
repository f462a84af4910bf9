"""What is measured of slices and scar, on hearts made here; and how exams are calibrated."""

import json
import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from models.predict import Localisation
from models.registry import card
from models.training import evaluate_lge as module
from models.training.cards import DATA_OF_SET
from models.training.cases import LabelledVolume
from models.training.evaluate import Evaluation, write
from models.training.evaluate_lge import (
    evaluate_lge_localiser,
    evaluate_scar,
    evaluate_slices,
    pooled,
)
from models.training.export import calibrate_infarct
from models.training.measure import row_of_scar, scar_percent
from models.training.slices import LabelledSlice
from models.training.whole_slices import plain_slices

FITTED = tuple(DATA_OF_SET[name] for name in ("acdc", "emidec"))


def report_of(evaluate, service, folder):
    evaluation = Evaluation(service.card, "test", folder, lambda line: None)
    evaluate(evaluation, service)
    return write(evaluation, folder)


class ByBrightness:
    """Says LV of every image whose largest value is above 0.9."""

    card = replace(card("cine_unet"), task="slice_classification", data=FITTED)

    def __call__(self, images, pixel_spacing_mm):
        return (images.max(axis=(1, 2)) > 0.9).astype(np.float64)


def of_patient(*shows, phase="lge", dataset="emidec", patient="Case_P001"):
    """Slices in order; bright where the classifier is to say LV."""
    slices = []
    for position, (lv, bright) in enumerate(shows):
        allowed = np.ones((20, 20), np.uint8)
        allowed[8:12, 8:12] = 2 if lv else 1
        slices.append(
            LabelledSlice(
                np.full((20, 20), 200 * bright, np.uint8), allowed, (1.5, 1.5), (9.5, 9.5),
                dataset, patient, phase, position=position,
            )
        )  # fmt: skip
    return tuple(slices)


def test_slices_are_judged_per_patient_and_all_together(tmp_path, monkeypatch):
    patients = {
        "emidec": [of_patient((1, 0), (1, 1), (1, 1)), of_patient((1, 1), (1, 0), patient="b")],
        "acdc": [of_patient((0, 1), (0, 0), (1, 1), phase="ed", dataset="acdc")],
    }
    monkeypatch.setattr(
        module.sets, "slices_by_patient", lambda data, name, part, left: patients.get(name, [])
    )
    report = report_of(evaluate_slices, ByBrightness(), tmp_path)
    content = json.loads(report.with_suffix(".json").read_text())
    rows = {(row["patient"], row["group"]): row for row in content["patients"]}
    first = rows["Case_P001", "LGE"]
    assert first["sensitivity"] == pytest.approx(2 / 3)
    assert (first["sensitivity_most_basal"], first["sensitivity_most_apical"]) == (0, 1)
    assert (rows["b", "LGE"]["sensitivity_most_basal"], "specificity" in rows["b", "LGE"]) == (1, 0)
    cine = rows["Case_P001", "cine"]
    assert (cine["sensitivity"], cine["specificity"]) == (1, 0.5)
    assert ("Case_P001", "as LGE") in rows
    together = content["pooled"]["emidec_LGE"]
    assert (together["true_positive"], together["false_negative"]) == (3, 2)
    assert content["pooled"]["all_cine"]["balanced_accuracy"] == 0.75
    assert content["card"]["test_emidec_LGE"]["recall"] == pytest.approx(0.6)
    assert "emidec_LGE" in report.read_text()


def test_a_classifier_of_cine_is_judged_on_cine_alone(tmp_path, monkeypatch):
    patients = {
        "emidec": [of_patient((1, 1))],
        "acdc": [of_patient((1, 1), phase="ed", dataset="acdc")],
    }
    monkeypatch.setattr(
        module.sets, "slices_by_patient", lambda data, name, part, left: patients.get(name, [])
    )
    of_cine = ByBrightness()
    of_cine.card = replace(of_cine.card, data=(DATA_OF_SET["acdc"],))
    report = report_of(evaluate_slices, of_cine, tmp_path)
    content = json.loads(report.with_suffix(".json").read_text())
    assert [(row["dataset"], row["group"]) for row in content["patients"]] == [("acdc", "cine")]
    assert set(content["pooled"]) == {"all_cine", "acdc_cine"}


def test_nothing_is_pooled_of_nothing():
    assert pooled([]) == {}
    judged = [(whole, True) for whole in plain_slices(of_patient((1, 1)))]
    assert set(pooled(judged)) == {"all_LGE", "emidec_LGE"}


def stack(labels, patient="Case_P002"):
    return LabelledVolume(
        labels.astype(np.float32), labels, (1.4, 1.4), 10.0, patient, "lge",
        "infarct" if (labels >= 3).any() else "no infarct",
    )  # fmt: skip


def wall(infarct=0, no_reflow=0):
    """One slice of 100 pixels of cavity and 100 of wall."""
    labels = np.zeros((1, 20, 20), np.uint8)
    labels[0, :5] = 1
    flat = np.full(100, 2, np.uint8)
    flat[:infarct] = 3
    flat[:no_reflow] = 4
    labels[0, 5:10] = flat.reshape(5, 20)
    return labels


def test_the_localiser_finds_an_lv_that_is_not_in_the_middle(tmp_path, monkeypatch):
    volume = stack(np.pad(wall(infarct=30), ((0, 0), (20, 20), (20, 20))))
    monkeypatch.setattr(module, "_scar_volumes", lambda evaluation: [("emidec", volume)])

    class Localiser:
        card = replace(card("heart_localiser"), data=FITTED)

        def __call__(self, images, pixel_spacing_mm):
            centre = np.argwhere(images > 0)[:, 1:].mean(axis=0)
            middle = (np.array(images.shape[1:]) - 1) / 2
            assert np.abs(centre - middle).min() > 3
            return Localisation(np.ones(1), tuple(centre + np.array([1, 0])), np.ones(1))

    report = report_of(evaluate_lge_localiser, Localiser(), tmp_path)
    (row,) = json.loads(report.with_suffix(".json").read_text())["patients"]
    assert row["centre_error_mm"] == pytest.approx(1.4)
    assert row["sensitivity"] == 1


def test_scar_is_joined_as_the_challenge_joins_it():
    found, truth = wall(infarct=10), wall(infarct=20, no_reflow=4)
    row = row_of_scar("emidec", stack(truth), found)
    assert (row["dice_lv"], row["dice_myo"], row["dice_no_reflow"]) == (1, 1, 0)
    assert row["dice_infarct"] == pytest.approx(2 * 10 / 30)
    assert (row["scar_percent_true"], row["scar_percent_error"]) == (20, -10)
    healthy = row_of_scar("emidec", stack(wall()), found)
    assert "dice_infarct" not in healthy
    assert (healthy["dice_infarct_all_cases"], healthy["dice_no_reflow_all_cases"]) == (0, 1)
    assert row["dice_infarct_all_cases"] == row["dice_infarct"]
    assert scar_percent(np.zeros((1, 4, 4), np.uint8)) == 0


def test_exams_are_told_apart_by_the_chain(tmp_path, monkeypatch):
    volumes = [stack(wall(infarct=30)), stack(wall(), "Case_N001"), stack(wall(), "Case_N002")]
    monkeypatch.setattr(
        module, "_scar_volumes", lambda evaluation: (("emidec", v) for v in volumes)
    )

    class Chain:
        card = replace(card("cine_unet"), task="scar_segmentation", data=FITTED)

        def scar(self, images, pixel_spacing_mm, slice_spacing_mm):
            return images.astype(np.uint8), 0.9 if (images >= 3).any() else math.nan

    report = report_of(evaluate_scar, Chain(), tmp_path)
    content = json.loads(report.with_suffix(".json").read_text())
    exams = content["pooled"]["emidec_exams"]
    assert (exams["true_positive"], exams["true_negative"], exams["auc"]) == (1, 2, 1)
    assert content["sets"]["emidec"]["summary"]["dice_infarct"]["n"] == 1
    assert "0.712" in report.read_text()


class Truthful(torch.nn.Module):
    """Labels by grey value: class k is k times 50; 250 is background."""

    def forward(self, images):
        middle = images[:, images.shape[1] // 2]
        steps = (middle - middle.min()) / (middle.max() - middle.min()) * 5
        return torch.nn.functional.one_hot(steps.round().long() % 5, 5).movedim(-1, 1)


def test_an_infarct_is_calibrated_over_scar_percent():
    slices = []
    for number, infarct in enumerate([0, 0, 0, 40, 60, 80]):
        labels = np.zeros((64, 64), np.uint8)
        labels[20:44, 20:44] = 2
        labels[26:38, 26:38] = 1
        labels[20:24, 20:44].flat[:infarct] = 3
        image = labels * 50
        image[:8, :8] = 250
        slices.append(
            LabelledSlice(
                image, np.left_shift(np.uint8(1), labels), (1.0, 1.0), (31.5, 31.5), "emidec",
                f"Case_{number}", "lge",
            )
        )  # fmt: skip
    geometry = {"rows": 64, "columns": 64, "spacing_mm": 1.0, "supersample": 1, "context": 1}
    found = calibrate_infarct(Truthful(), geometry, slices)
    assert found["infarct_accuracy"] == 1
    assert found["infarct_intercept"] < 0 < found["infarct_intercept"] + 9 * found["infarct_slope"]
    assert calibrate_infarct(Truthful(), geometry, slices[:3]) == {}
