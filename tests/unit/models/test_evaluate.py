"""From a service and labelled sets to the report, on hearts made here; and the tables by hand."""

import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from models.ed_es_detector import FrameReading
from models.registry import card
from models.training import evaluate as module
from models.training.cards import DATA_OF_SET, fitted_sets, is_held_out
from models.training.cases import CaseError, LabelledCine, LabelledVolume
from models.training.evaluate import Evaluation, as_content, evaluate_segmenter, write
from models.training.measure import (
    _half_a_pixel_apart,
    row_of_frames,
    row_of_slices,
    row_of_study,
    row_of_volumes,
)
from models.training.report import as_markdown
from models.training.studies import MeasuredStudy
from models.training.summary import (
    agreements,
    losses_in_points,
    per_group,
    summarise,
    worst_cases,
)
from models.training.sunnybrook import LabelledImage
from models.training.targets import targets


class Known:
    """A service that labels by intensity: 200 LV, 100 myocardium, 150 RV; phases by LV area."""

    def __init__(self, fitted=()):
        self.card = replace(card("cine_unet"), data=tuple(DATA_OF_SET[name] for name in fitted))

    def labels(self, frames, pixel_spacing_mm, slice_spacing_mm):
        near = [np.abs(frames - value) < 20 for value in (200, 100, 150)]
        return sum(((index + 1) * mask for index, mask in enumerate(near)), 0).astype(np.uint8)

    def phases(self, frames, pixel_spacing_mm, slice_spacing_mm):
        area = (self.labels(frames, pixel_spacing_mm, slice_spacing_mm) == 1).sum(axis=(1, 2, 3))
        return FrameReading(int(area.argmax()), sure=True), FrameReading(
            int(area.argmin()), sure=True
        )


def evaluation_of(service, data=Path("none"), say=lambda _: None, **options):
    return Evaluation(service.card, "test", data, say, **options)


def volume(phase, radius, patient="patient010", group="DCM"):
    rows, columns = np.mgrid[:64, :64]
    distance = np.hypot(rows - 30, columns - 40)
    labels = np.where(distance < radius, 1, np.where(distance < radius + 4, 2, 0))
    labels[np.hypot(rows - 30, columns - 14) < 8] = 3
    labels = np.repeat(labels[None], 4, 0).astype(np.uint8)
    images = np.array([20, 200, 100, 150], dtype=np.float32)[labels]
    return LabelledVolume(images, labels, (2.0, 1.0), 10.0, patient, phase, group)


ED, ES = volume("ed", 12), volume("es", 8)


def test_a_perfect_service_gets_perfect_figures():
    found = tuple(Known().labels(v.images, (2.0, 1.0), 10.0) for v in (ED, ES))
    row = row_of_volumes("acdc", ED, ES, found)
    assert {value for key, value in row.items() if key.startswith("dice_")} == {1.0}
    assert {value for key, value in row.items() if key.startswith("hausdorff")} == {0.0}
    assert {value for key, value in row.items() if "error" in key} == {0.0}
    assert row["lv_edv_true_ml"] == pytest.approx((ED.labels == 1).sum() * 2 * 1 * 10 / 1000)
    assert row["group"] == "DCM"


def test_errors_are_found_minus_true():
    found = np.where(ED.labels == 1, 0, ED.labels), ES.labels
    row = row_of_volumes("acdc", ED, ES, found)
    assert row["dice_lv_ed"] == 0
    assert math.isnan(row["hausdorff_lv_ed_mm"])
    assert row["lv_edv_error_ml"] == -row["lv_edv_true_ml"]
    assert math.isnan(row["lv_ef_error"])
    moved = np.roll(ED.labels, 1, axis=1), ES.labels
    assert row_of_volumes("acdc", ED, ES, moved)["hausdorff_rv_ed_mm"] == 2.0


@pytest.mark.parametrize("start", ["a", "b", "c", "d"])
def test_frame_errors_do_not_depend_on_where_the_sequence_starts(start):
    radii = [12, 11, 9, 8, 6, 7, 10, 11]
    frames = np.stack([volume("ed", radius).images for radius in radii])
    cine = LabelledCine(frames, (2.0, 1.0), 10.0, ed=0, es=4, patient=start, group="NOR")
    row = row_of_frames(Known(), "acdc", cine)
    assert (row["ed_error_frames"], row["es_error_frames"]) == (0, 0)
    late = row_of_frames(Known(), "acdc", replace(cine, ed=7, es=2))
    assert (late["ed_error_frames"], late["es_error_frames"]) == (1, 2)
    assert late["es_error_of_cycle"] == 0.25


def labelled_image(phase, position, radius, epi=True):
    view = volume(phase, radius)
    endo = view.labels[0] == 1
    outer = endo | (view.labels[0] == 2)
    return LabelledImage(view.images[0].astype(np.uint8), endo, outer if epi else None, position,
                         "SC-HF-NI-31", phase)  # fmt: skip


def test_slices_of_both_phases_form_one_stack_though_positions_differ():
    slices = (
        labelled_image("ed", 3, 12), labelled_image("ed", 4, 11), labelled_image("es", 4, 8, False),
    )  # fmt: skip
    seen = []

    class Watched(Known):
        def labels(self, frames, *geometry):
            seen.append(frames)
            return super().labels(frames, *geometry)

    row = row_of_slices(Watched(), slices)
    assert seen[0].shape == (2, 2, 64, 64)
    np.testing.assert_array_equal(seen[0][1, 0], slices[0].image)
    assert (row["dice_lv_ed"], row["dice_lv_es"], row["dice_myo_ed"]) == (1, 1, 1)
    assert row["lv_ef_error"] == 0
    assert row["group"] == "HF-NI"
    assert 0.9 < row["dice_lv_es_contours_moved"] < 1


def test_what_was_found_is_moved_to_the_contours_by_half_a_pixel():
    mask = np.zeros((1, 8, 8), dtype=bool)
    mask[0, 2:5, 3:5] = True
    moved, truth = _half_a_pixel_apart(mask, mask)
    assert np.argwhere(truth[0]).min(axis=0).tolist() == [4, 6]
    assert np.argwhere(moved[0]).min(axis=0).tolist() == [5, 7]
    assert moved.sum() == truth.sum() == 4 * mask.sum()


def test_a_reported_study_gives_volume_errors_alone():
    images = np.stack([ED.images, ES.images]).astype(np.uint8)
    ml = (ED.labels == 1).sum() * 20 / 1000
    reported = {"lv_edv_ml": ml - 5, "lv_esv_ml": (ES.labels == 1).sum() * 20 / 1000}
    study = MeasuredStudy(images, (2.0, 1.0), 10.0, (30.0, 40.0), reported, "test-x")
    row = row_of_study(Known(), study)
    assert row["lv_edv_error_ml"] == pytest.approx(5)
    assert row["lv_esv_error_ml"] == pytest.approx(0)
    assert not any(key.startswith(("rv", "dice")) for key in row)


ROWS = [
    {"dataset": "a", "patient": "1", "group": "X", "lv_ef_true": 50.0, "lv_ef_error": -2.0},
    {"dataset": "a", "patient": "2", "group": "Y", "lv_ef_true": 60.0, "lv_ef_error": 4.0,
     "dice_lv_ed": 0.9},
    {"dataset": "b", "patient": "3", "group": "", "lv_ef_true": 40.0, "lv_ef_error": math.nan},
]  # fmt: skip


def test_tables_by_hand():
    table = summarise(ROWS)
    assert table["a"]["lv_ef_error"]["n"] == 2
    assert table["a"]["lv_ef_error"]["mean"] == 1
    assert table["a"]["lv_ef_error"]["mean_absolute"] == 3
    assert table["a"]["lv_ef_error"]["sd"] == pytest.approx(18**0.5, abs=1e-4)
    assert "lv_ef_error" not in table["b"]
    assert agreements(ROWS[:2])["lv_ef"]["bias"] == 1
    assert agreements(ROWS[2:]) == {}
    assert per_group(ROWS) == {
        "X": {"n": 1, "lv_ef_error": 2},
        "Y": {"n": 1, "lv_ef_error": 4, "dice_lv_ed": 0.9},
    }
    assert worst_cases(ROWS[:2])["lv_ef_error"] == [("2", 4.0), ("1", -2.0)]


def test_losses_compare_each_patient_with_itself():
    plain = [{"dataset": "a", "patient": str(n), "dice_lv_ed": 0.9 + n / 100} for n in (1, 2)]
    changed = [
        {"dataset": "a", "patient": str(n), "change": "noise", "dice_lv_ed": 0.9} for n in (2, 1)
    ]
    assert losses_in_points(plain, changed) == {"noise": {"dice_lv_ed": 1.5}}


def test_a_card_tells_which_sets_its_weights_have_seen():
    assert fitted_sets(Known(("acdc", "synthetic")).card) == {"acdc", "synthetic"}
    assert fitted_sets(card("cine_unet")) == {"acdc", "sunnybrook", "synthetic"}
    refitted = replace(card("cine_unet"), data=("ACDC, all 100 patients",))
    assert fitted_sets(refitted) == {"acdc"}


def test_patients_are_held_out_unless_the_card_was_fitted_on_all():
    shipped = card("cine_unet")
    assert all(is_held_out(shipped, name) for name in DATA_OF_SET)
    refitted = replace(shipped, data=("ACDC, all 100 patients", *shipped.data[1:]))
    assert [name for name in DATA_OF_SET if not is_held_out(refitted, name)] == ["acdc"]
    rows = [{"dataset": "acdc", "patient": "1", "dice_lv_ed": 0.9}]
    content = as_content(Evaluation(refitted, "test", Path("none"), patients=rows))
    assert "## acdc: **fitted on these very patients" in as_markdown(content, {})


def test_targets_depend_on_what_the_weights_have_seen():
    assert targets("acdc", "segmentation", seen=True)["dice_rv_es"].reach == 0.89
    assert targets("acdc", "segmentation", seen=False)["dice_lv_ed"].reach == 0.93
    assert targets("acdc", "volume_regression", seen=True)["lv_edv_error_ml"].reach == 12
    assert targets("mnms", "segmentation", seen=False)["lv_ef_error"].reach == 4
    assert targets("sunnybrook", "segmentation", seen=True) == {}
    assert targets("acdc", "segmentation", seen=True)["lv_ef_error"].met({"mean_absolute": 2.7})
    assert not targets("acdc", "segmentation", seen=True)["dice_lv_ed"].met({"mean": 0.9649})


def test_the_report_says_what_was_seen_what_was_missed_and_what_was_left_out(tmp_path, monkeypatch):
    pairs = [("acdc", ED, ES), ("mnms", volume("ed", 11, "A1", "GE"), volume("es", 9, "A1", "GE"))]
    monkeypatch.setattr(module, "_volumes", lambda *_: iter(pairs))

    def frame_rows(evaluation, *_):
        evaluation.noting("acdc whole cine of")("patient999", "its whole cine is not there")
        return iter(())

    monkeypatch.setattr(module, "_frame_rows", frame_rows)
    said = []
    service = Known(("acdc",))
    evaluation = evaluation_of(service, say=said.append)
    evaluate_segmenter(evaluation, service)
    path = write(evaluation, tmp_path)
    text, content = path.read_text(), json.loads(path.with_suffix(".json").read_text())
    assert [line.split(":")[0] for line in said] == ["acdc patient010", "mnms A1"]
    assert (content["sets"]["acdc"]["seen"], content["sets"]["mnms"]["seen"]) == (True, False)
    assert content["card"]["test_acdc"]["dice_lv_ed_mean"] == 1
    assert content["weights_sha256"] == card("cine_unet").weights_sha256
    assert "## acdc: seen scanner, other patients" in text
    assert "## mnms: unseen scanner" in text
    assert "| dice_lv_ed | 1 | 1 |" in text
    assert "0.967 | ≥ 0.965 | yes |" in text
    assert "patient999: its whole cine is not there" in text
    changes = content["scanner_change_loss_points"]
    assert changes["noise, blood 10 times as strong"]["dice_myo_ed"] > 2
    assert "**Missed:**" in text
    for file in ("acdc-agreement.png", "acdc-worst.png", "mnms-worst.png"):
        assert (tmp_path / f"evaluation-cine_unet-test-{file}").stat().st_size > 5000


def test_the_worst_patient_is_drawn_first(monkeypatch):
    """Of two hearts the second has another RV than the service knows."""
    odd = volume("ed", 12, "A2").images - 40 * (ED.labels == 3)
    pairs = [("mnms", ED, ES), ("mnms", replace(ED, images=odd, patient="A2"), ES)]
    monkeypatch.setattr(module, "_volumes", lambda *_: iter(pairs))
    monkeypatch.setattr(module, "_frame_rows", lambda *_: iter(()))
    evaluation = evaluation_of(Known(), scanner_changes=False)
    evaluate_segmenter(evaluation, Known())
    titles = [view.title for view, _ in evaluation.worst["mnms"]]
    assert [title.split()[0] for title in titles] == ["A2", "patient010"]
    assert "rv 0.00" in titles[0]
    assert evaluation.changes == []


def test_figures_that_are_no_numbers_are_null_in_the_json(tmp_path):
    row = ROWS[2] | {"dataset": "synthetic"}
    evaluation = evaluation_of(Known(), patients=[row])
    text = write(evaluation, tmp_path).with_suffix(".json").read_text()
    assert "NaN" not in text
    assert json.loads(text)["patients"][0]["lv_ef_error"] is None


def test_a_rejected_heart_is_left_out_by_name(monkeypatch):
    class Refusing(Known):
        def regressed(self, *_):
            raise CaseError("the chain rejects it")

    monkeypatch.setattr(module, "_volumes", lambda *_: iter([("acdc", ED, ES)]))
    evaluation = evaluation_of(Refusing())
    module.evaluate_regressor(evaluation, Refusing())
    assert evaluation.left_out == {"acdc patient010": "the chain rejects it"}
    assert evaluation.patients == []


def test_a_detector_is_measured_by_both_readings_and_by_what_it_asks_to_review():
    class Fixed:
        def __init__(self, ed, es, sure=True):
            self.found = FrameReading(ed, sure=True), FrameReading(es, sure=sure)

        def phases(self, *_):
            return self.found

    cine = LabelledCine(np.zeros((10, 3, 8, 8), np.float32), (1.0, 1.0), 8.0, 0, 4, "")
    row = row_of_frames(Fixed(9, 4, sure=False), "acdc", cine, Fixed(2, 8))
    assert (row["ed_error_frames"], row["es_error_frames"], row["to_review"]) == (1, 0, 1.0)
    assert (row["ed_error_frames_naive"], row["es_error_frames_naive"]) == (2, 4)
    assert row_of_frames(Fixed(0, 4), "acdc", cine, Fixed(0, 4))["to_review"] == 0.0
    assert "to_review" not in row_of_frames(Fixed(0, 4), "acdc", cine)


def test_a_rejected_cine_is_left_out_by_name(tmp_path, monkeypatch):
    class Refusing(Known):
        def phases(self, *_):
            raise CaseError("the chain rejects it")

    monkeypatch.setattr(module, "_names", lambda *_: ("patient010",))
    cine = LabelledCine(np.zeros((4, 3, 8, 8), np.float32), (1.0, 1.0), 8.0, 0, 1, "patient010")
    monkeypatch.setattr(module.acdc, "read_cine", lambda *_: cine)
    evaluation = evaluation_of(Refusing(), tmp_path)
    assert list(module._frame_rows(evaluation, Refusing(), None)) == []
    assert evaluation.left_out["acdc whole cine of patient010"] == "the chain rejects it"
    assert "CSV or folders" in evaluation.left_out["mnms whole cine of patient010"]
