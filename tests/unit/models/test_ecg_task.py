"""What the ECG classifier learns from, and how it is measured: from a recipe to a report."""

import json
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch

from dicom_node.evaluate import evaluate_model
from models.ecg_classifier import EcgClassifier
from models.ecg_sheet import CLASSES, draw_sheet, prepared
from models.registry import WeightsError, card
from models.slice_classifier import SliceClassifier
from models.split import SplitError
from models.synthetic.ecg import HZ, beats_at, synthesise_ecg
from models.training import ecg_sets
from models.training.cards import DATA_OF_SET, LICENCE, fitted_sets, licence_of
from models.training.ecg_records import EcgCase
from models.training.ecg_simulation import is_installed, simulated_beats, taken_apart
from models.training.ecg_task import SHEETS, plain_sheet
from models.training.evaluate import Evaluation
from models.training.evaluate_classes import Judged, add_judged
from models.training.export import export
from models.training.image_class_task import ImageClassTask
from models.training.recipes import RECIPES
from models.training.train import train

SETS = ("synthetic_ecg",)


def case_of(seed, label, dataset="synthetic_ecg"):
    drawn = synthesise_ecg(seed, label)
    microvolts = np.round(drawn.leads * 1000).astype(np.int16)
    return EcgCase(label, dataset, f"{dataset}-{seed}", drawn.hz, microvolts)


@pytest.fixture(scope="module")
def cases():
    return [case_of(seed, label) for label in range(4) for seed in range(2)]


FEW = {"train": range(8), "validation": range(20, 24), "test": range(30, 38)}


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Folder of weights and card after two steps on few synthetic records."""
    nowhere, out = tmp_path_factory.mktemp("no-data"), tmp_path_factory.mktemp("out")
    recipe = RECIPES["ecg_dual_branch"]
    settings = replace(recipe.settings, steps=2, batch=4, mixed_precision=False, validate_every=2)
    small = replace(recipe, parameters={"width": 8, "classes": 4}, settings=settings)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ecg_sets, "SEEDS", FEW)
        patch.setitem(RECIPES, "ecg_dual_branch", small)
        folder = train("ecg_dual_branch", nowhere, out, sets=SETS, threads=1, say=lambda _: None)
        export("ecg_dual_branch", nowhere, out, version="9", folder=folder, sets=SETS)
    return folder


@pytest.fixture(autouse=True)
def _one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def test_a_plain_sheet_is_that_of_service(cases):
    drawn = synthesise_ecg(0, 0)
    found = SHEETS.plain(cases[0]).numpy()
    expected = prepared(draw_sheet(drawn.leads, drawn.hz))
    assert np.abs(found - expected).mean() < 0.01


def test_a_picture_is_shown_as_it_is():
    picture = np.random.default_rng(0).integers(0, 255, (400, 600, 3), dtype=np.uint8)
    case = EcgCase(0, "ecg_images", "a", picture=picture)
    np.testing.assert_array_equal(plain_sheet(case), picture)
    with pytest.raises(ValueError, match="neither record nor picture"):
        plain_sheet(EcgCase(0, "ecg", "a"))


def test_drawn_sheets_differ_from_the_plain_one_and_repeat_with_the_draw(cases):
    draw = partial(SHEETS.drawn, cases[0])
    one, again, other = (draw(torch.Generator().manual_seed(seed)) for seed in (1, 1, 2))
    assert one.shape == (3, 227, 227)
    assert torch.equal(one, again)
    assert not torch.equal(one, other)
    assert not torch.equal(one, SHEETS.plain(cases[0]))


def test_the_recipe_says_what_service_needs_and_takes_the_ecg_sets_alone():
    recipe = RECIPES["ecg_dual_branch"]
    assert recipe.input["classes"] == list(CLASSES)
    assert (recipe.input["rows"], recipe.input["columns"]) == (227, 227)
    assert set(recipe.sets) == set(ecg_sets.ECG_SETS) <= set(DATA_OF_SET)


def test_the_licence_follows_from_what_was_fitted():
    assert licence_of(["ecg", "synthetic_ecg"]) == "CC BY 4.0"
    assert licence_of(["ecg", "acdc"]) == licence_of([]) == LICENCE


def test_the_task_learns_what_its_sheets_show(cases):
    """A linear reader of plain sheets tells the classes of a few apart after some steps."""
    task = ImageClassTask(SHEETS, cases, cases)
    torch.manual_seed(0)
    inputs = torch.stack([SHEETS.plain(case) for case in cases])
    targets = (torch.tensor([case.label for case in cases]),)
    reader = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(3 * 227**2, 4))
    optimiser = torch.optim.Adam(reader.parameters(), 3e-6)
    losses = []
    for _ in range(25):
        loss = task.loss(reader(inputs), targets)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert losses[-1] < 0.7 * losses[0]
    assert task.validate(reader.eval(), "cpu")["balanced_accuracy"] > 0.7


def test_the_card_of_a_run_says_what_it_learned_from(trained):
    written = card("ecg_dual_branch", trained)
    assert (written.licence, written.task) == ("CC BY 4.0", "ecg_classification")
    assert fitted_sets(written) == {"synthetic_ecg"}
    assert "NO REAL INFARCTION" in written.limits
    assert written.metrics["steps"] == 2


def test_service_gives_a_probability_of_each_class(trained):
    classifier = EcgClassifier(folder=trained)
    sheets = [plain_sheet(case_of(seed, 0)) for seed in range(3)]
    found = classifier(sheets)
    assert classifier.classes == CLASSES
    assert found.shape == (3, 4)
    np.testing.assert_allclose(found.sum(axis=1), 1)
    np.testing.assert_allclose(classifier(sheets[1:2])[0], found[1], atol=1e-5)
    assert classifier([]).shape == (0, 4)


def test_the_weights_serve_no_other_task(trained):
    with pytest.raises(WeightsError, match="not for slice_classification"):
        SliceClassifier("ecg_dual_branch", folder=trained)


def test_the_card_keeps_how_familiar_validation_pictures_are(trained):
    limit = card("ecg_dual_branch", trained).calibration["least_familiarity"]
    drawn = [synthesise_ecg(seed) for seed in FEW["validation"]]
    readings = [EcgClassifier(folder=trained).read(draw_sheet(one.leads, one.hz)) for one in drawn]
    assert {one.least_familiarity for one in readings} == {limit}
    assert limit == pytest.approx(min(one.familiarity for one in readings), abs=0.5)


def test_evaluate_tells_each_class_and_why_published_figures_do_not_compare(
    trained, tmp_path, monkeypatch
):
    monkeypatch.setattr(ecg_sets, "SEEDS", FEW)
    monkeypatch.setattr(ecg_sets, "is_installed", lambda: False)
    report = evaluate_model(
        "ecg_dual_branch", tmp_path, tmp_path, device="cpu", weights=trained, say=lambda _: None
    )
    text = report.read_text()
    assert "do not compare" in text
    assert "sensitivity_" in text
    figures = json.loads(report.with_suffix(".json").read_text())
    pooled = figures["pooled"]
    assert set(pooled) == {"synthetic_ecg_classes"}  # of one set: not told twice
    assert sum(pooled["synthetic_ecg_classes"][f"n_{name}"] for name in CLASSES) == 8
    assert figures["card"]["test_synthetic_ecg"]["patients"] == 8
    assert "not installed" in figures["left_out"]["synthetic_ecg_simulator every record"]
    assert figures["card"]["test_synthetic_ecg_classes"] == pooled["synthetic_ecg_classes"]


def test_a_refit_is_refused(tmp_path):
    with pytest.raises(SplitError, match="covers none"):
        train("ecg_dual_branch", tmp_path, tmp_path / "out", sets=SETS, refit=True)


def test_rows_and_confusions_keep_what_was_measured_from_what_was_drawn():
    evaluation = Evaluation(None, "test", None, say=lambda _: None)
    judged = [
        Judged("ecg", "a", 0, (0.7, 0.3)),
        Judged("ecg", "b", 1, (0.6, 0.4)),
        Judged("ecg_images", "c", 1, (0.1, 0.9)),
        Judged("synthetic_ecg", "d", 1, (0.2, 0.8)),
    ]
    add_judged(evaluation, ("no", "yes"), judged)
    assert set(evaluation.pooled) == {
        f"{name}_classes"
        for name in ("all_real", "ecg", "ecg_images", "synthetic_ecg")  # one set alone is synthetic
    }  # fmt: skip
    assert evaluation.pooled["all_real_classes"]["sensitivity_yes"] == 0.5
    assert evaluation.pooled["all_real_classes"]["precision_no"] == 0.5
    assert evaluation.pooled["synthetic_ecg_classes"]["n_yes"] == 1
    assert [row["accuracy"] for row in evaluation.patients] == [1, 0, 1, 1]
    assert evaluation.patients[1] == {
        "dataset": "ecg", "patient": "b", "group": "yes", "accuracy": 0.0,
        "probability_of_truth": 0.4, "confidence": 0.6,
    }  # fmt: skip


def test_a_trace_is_taken_apart_into_its_waves():
    times = np.arange(0.5, 10, 0.8)
    drawn = beats_at(times)
    trace = np.array([0.15, -0.1, 1.0, -0.2, 0.3]) @ drawn.waves
    found, waves = taken_apart(trace)
    np.testing.assert_allclose(found, times, atol=0.005)
    assert waves.min() >= 0
    np.testing.assert_allclose(waves.max(axis=1), 1)
    heights = [abs(trace[np.round((times + offset) * HZ).astype(int)]).mean() for offset in (0,)]
    assert heights[0] == pytest.approx(trace.max(), rel=0.1)
    for number, name in ((0, "P"), (2, "R"), (4, "T")):
        assert np.corrcoef(waves[number], drawn.waves[number])[0, 1] > 0.97, name


@pytest.mark.skipif(not is_installed(), reason="the simulator (extra `train`) is not installed")
@pytest.mark.parametrize("rate", [40.0, 75.0, 140.0])
def test_the_simulator_keeps_the_rate_and_every_beat(rate):
    for seed in range(2):
        beats = simulated_beats(np.random.default_rng(seed), rate)
        intervals = np.diff(beats.times_s)
        assert 60 / intervals.mean() == pytest.approx(rate, rel=0.05)
        assert intervals.min() > 0.7 * intervals.max()
        assert beats.waves.shape == (5, 5000)
        again = simulated_beats(np.random.default_rng(seed), rate)
        np.testing.assert_array_equal(beats.waves, again.waves)
