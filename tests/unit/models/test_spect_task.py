"""Perfusion pictures: which sets there are, who is where, how they are learnt and measured."""

import json

import numpy as np
import pytest
import torch
from PIL import Image

from models import registry
from models.perfusion_classifier import PerfusionClassifier
from models.split import SplitError, part_of_name
from models.training import spect_sets
from models.training.data import SETS, is_there
from models.training.evaluate import Evaluation, write
from models.training.evaluate_spect import evaluate_spect
from models.training.export import export
from models.training.recipes import RECIPES
from models.training.spect_sets import SEEDS, PerfusionPicture, prepare_spect, spect_cases
from models.training.spect_task import PICTURES, changed
from models.training.train import train

FOLDERS = {"Normal": 0, "IschemiaCrop": 1, "INFARCTION": 2}


def named(part, count=3):
    """Patients that belong to a part."""
    names = (f"P{number:03d}" for number in range(200))
    return [name for name in names if part_of_name(name) == part][:count]


def draw(path, label):
    picture = np.zeros((90, 120, 3), np.uint8)
    picture[20:70, 10 + 30 * label : 40 + 30 * label] = (255, 120, 0)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(picture).save(path)


@pytest.fixture
def data(tmp_path):
    """Three classes; two views of each of three patients of each part."""
    root = tmp_path / "data" / "perfusion_images"
    for part in ("train", "validation", "test"):
        for (folder, label), patient in zip(FOLDERS.items(), named(part), strict=True):
            for view in ("QPS_AC", "Rest QGS"):
                draw(root / folder / f"{patient}_{view}.png", label)
    return tmp_path / "data"


def cases(data, part, dataset="perfusion_images"):
    left_out = {}
    found = list(spect_cases(data, dataset, part, lambda name, why: left_out.update({name: why})))
    return found, left_out


def test_folders_give_classes_and_names_give_patients_and_parts(data):
    seen = {}
    for part in ("train", "validation", "test"):
        found, left_out = cases(data, part)
        assert not left_out
        assert sorted(case.label for case in found) == [0, 0, 1, 1, 2, 2]
        seen[part] = {case.patient for case in found}
        assert seen[part] == set(named(part))
        for case in found:
            assert case.picture.shape == (50, 30, 3)
            assert case.picture[25, 15].tolist() == [255, 120, 0]
    assert not seen["train"] & seen["test"]


def test_what_cannot_be_used_is_named_and_the_rest_goes_on(data):
    root = data / "perfusion_images"
    first, second, third = named("train", 6)[3:]
    draw(root / "unknown" / f"{first}_a.png", 0)
    draw(root / "Normal" / f"{second}_a.png", 0)
    draw(root / "INFARCTION" / f"{second}_b.png", 2)
    (root / "Normal" / f"{third}_a.png").write_bytes(b"no picture")
    found, left_out = cases(data, "train")
    assert len(found) == 6
    assert "names none of the classes" in left_out[f"unknown/{first}_a.png"]
    for name in (f"Normal/{second}_a.png", f"INFARCTION/{second}_b.png"):
        assert "two classes" in left_out[name]
    assert "cannot be used" in left_out[f"Normal/{third}_a.png"]


def test_the_sets_are_known_by_name(data, tmp_path):
    assert {"perfusion_images", "synthetic_spect"} <= set(SETS)
    assert is_there(data, "perfusion_images")
    assert not is_there(tmp_path, "perfusion_images")
    assert cases(tmp_path, "train") == ([], {})


def test_seeds_of_parts_differ():
    parts = [set(seeds) for seeds in SEEDS.values()]
    assert sum(map(len, parts)) == len(set.union(*parts))


def test_a_synthetic_case_is_the_sheet_of_its_study():
    case = spect_sets._synthetic("10000")
    assert case.picture.shape == (224, 224, 3)
    assert case.patient == "synthetic-10000"
    assert (case.group == "") == (case.label == 0)


def test_nothing_of_the_test_part_is_prepared(data, tmp_path):
    with pytest.raises(SplitError):
        prepare_spect(data, tmp_path, "test", ("perfusion_images",))


def test_prepared_pictures_are_kept(data, tmp_path):
    made = prepare_spect(data, tmp_path, "train", ("perfusion_images",))
    for path in (data / "perfusion_images").rglob("*.png"):
        path.unlink()
    again = prepare_spect(data, tmp_path, "train", ("perfusion_images",))
    assert [case.patient for case in again] == [case.patient for case in made]
    np.testing.assert_array_equal(again[0].picture, made[0].picture)


def test_pictures_are_changed_mildly_and_never_mirrored():
    image = torch.zeros(3, 224, 224)
    image[:, 40:80, 100:190] = 0.5
    first = changed(image, torch.Generator().manual_seed(1))
    assert torch.equal(first, changed(image, torch.Generator().manual_seed(1)))
    rows, columns = torch.meshgrid(torch.arange(224.0), torch.arange(224.0), indexing="ij")
    for seed in range(30):
        made = changed(image, torch.Generator().manual_seed(seed))
        mass = made[0] / made[0].sum()
        y, x = float((mass * rows).sum()), float((mass * columns).sum())
        turned = np.degrees(np.arctan2(x - 111.5, 111.5 - y) - np.arctan2(33, 52))
        assert abs(turned) < 17
        assert abs(np.hypot(x - 111.5, y - 111.5) - np.hypot(33, 52)) < 6
        assert 0.39 < float(made.max()) < 0.61


def test_the_recipe_weighs_classes_stops_early_and_says_its_classes():
    recipe = RECIPES["spect_mobilenet"]
    assert PICTURES.weighted
    assert recipe.settings.patience == 6
    assert recipe.input["classes"] == ["normal", "ischemia", "infarction"]
    assert recipe.sets == ("perfusion_images", "synthetic_spect")


@pytest.fixture
def few_seeds(monkeypatch):
    def drawn(seed):
        picture = np.zeros((224, 224, 3), np.uint8)
        label = int(seed) % 3
        picture[60 * label : 60 * label + 60] = 200
        return PerfusionPicture(label, "synthetic_spect", f"synthetic-{seed}", picture)

    monkeypatch.setattr(spect_sets, "_synthetic", drawn)
    monkeypatch.setattr(
        spect_sets,
        "SEEDS",
        {"train": range(6), "validation": range(10, 13), "test": range(20, 26)},
    )


def test_training_exporting_and_measuring_go_the_common_way(tmp_path, few_seeds):
    threads = torch.get_num_threads()
    run = train(
        "spect_mobilenet", tmp_path, tmp_path / "run", steps=2, threads=1, say=lambda _: None
    )
    torch.set_num_threads(threads)
    card = export("spect_mobilenet", tmp_path, tmp_path / "run", version="0", folder=run)
    assert card.task == "perfusion_classification"
    assert "NO REAL PATIENT" in card.limits
    assert any("Synthetic perfusion SPECT" in entry for entry in card.data)
    assert card.licence == "CC BY 4.0"
    classifier = PerfusionClassifier(folder=run)
    evaluation = Evaluation(card, "test", tmp_path, lambda _: None)
    evaluate_spect(evaluation, classifier)
    table = evaluation.pooled["synthetic_spect_classes"]
    assert [table[f"n_{name}"] for name in classifier.classes] == [2, 2, 2]
    assert "all_real_classes" not in evaluation.pooled
    report = write(evaluation, tmp_path / "report")
    text = report.read_text()
    assert "do not compare" in text
    assert "0.72 (ischemia, n 18)" in text
    figures = json.loads(report.with_suffix(".json").read_text())["card"]
    assert figures["test_synthetic_spect_classes"]["n_ischemia"] == 2


def test_the_best_weights_of_a_run_are_what_is_exported(tmp_path, few_seeds):
    torch.manual_seed(3)
    best, last = (registry.build("mobilenet", {}).state_dict() for _ in range(2))
    run = tmp_path / "run" / "spect_mobilenet"
    run.mkdir(parents=True)
    torch.save({"average": last, "best": best, "step": 7}, run / "checkpoint.pt")
    export("spect_mobilenet", tmp_path, tmp_path / "run", version="0", folder=run)
    network, card = registry.load("spect_mobilenet", run)
    assert card.metrics["steps"] == 7
    for name, value in network.state_dict().items():
        torch.testing.assert_close(value, best[name], rtol=1e-3, atol=1e-4)


def test_a_file_of_weights_freezes_the_early_blocks_and_random_ones_do_not(tmp_path, few_seeds):
    torch.manual_seed(7)
    known = registry.build("mobilenet", {})
    torch.save(known.state_dict(), tmp_path / "w.pt")
    threads = torch.get_num_threads()
    changed_blocks = {}
    for name, initial in (("file", tmp_path / "w.pt"), ("random", None)):
        folder = train(
            "spect_mobilenet", tmp_path, tmp_path / name, steps=1, threads=1, initial=initial,
            say=lambda _: None,
        )  # fmt: skip
        state = torch.load(folder / "checkpoint.pt", weights_only=True)["network"]
        changed_blocks[name] = {
            int(key.split(".")[1])
            for key, value in state.items()
            if key.startswith("features") and not torch.equal(value, known.state_dict()[key])
        }
    torch.set_num_threads(threads)
    assert changed_blocks == {"file": {10, 11, 12, 13}, "random": set(range(14))}


def test_a_classifier_of_another_task_is_refused():
    with pytest.raises(registry.WeightsError, match="not for perfusion"):
        PerfusionClassifier("lge_slices")
