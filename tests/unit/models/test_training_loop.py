"""The training loop learns, stops, goes on and ships what it learned."""

import dataclasses
import json

import pytest
import torch

from models.preprocess import CropGrid
from models.registry import WeightsError, build, load, save_weights
from models.training import export as export_module
from models.training import train as train_module
from models.training.loop import fit
from models.training.recipes import RECIPES, slice_recipe
from models.training.slice_task import SliceSampling, SliceTask
from models.training.slices import write_slices
from models.training.tasks import NoDataError, TrainSettings

SAMPLING = SliceSampling(
    CropGrid(48, 48, 2.0), max_shift_mm=6, set_shares={"acdc": 0.7, "synthetic": 0.3}
)
TINY = slice_recipe("segmentation", "unet_2d", {"width": 4, "levels": 3, "classes": 4}, SAMPLING)
SETTINGS = TrainSettings(
    steps=30, batch=4, warmup_steps=5, validate_every=10, checkpoint_every=10, threads=1
)


@pytest.fixture(autouse=True)
def _same_threads():
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def run(train, validation, folder, settings, **more):
    torch.manual_seed(settings.seed)
    network = build(TINY.architecture, TINY.parameters)
    return fit(network, SliceTask(SAMPLING, train, validation), folder, settings, **more)


def log_of(folder):
    return [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]


def test_the_loss_falls_and_the_run_leaves_log_and_curve(invented_slices, tmp_path):
    settings = dataclasses.replace(SETTINGS, steps=60)
    run(invented_slices, invented_slices[:4], tmp_path, settings)
    entries = log_of(tmp_path)
    assert [entry["step"] for entry in entries] == [10, 20, 30, 40, 50, 60]
    assert entries[-1]["loss"] < 0.8 * entries[0]["loss"]
    assert entries[-1]["dice_acdc_lv_ed"] > 0.5
    assert (tmp_path / "curve.png").read_bytes().startswith(b"\x89PNG")


def test_a_stopped_run_goes_on_as_if_it_had_not_stopped(invented_slices, tmp_path):
    whole = run(invented_slices, invented_slices[:2], tmp_path / "whole", SETTINGS)
    resumed = tmp_path / "resumed"
    run(invented_slices, invented_slices[:2], resumed, SETTINGS, stop_after=20)
    assert [entry["step"] for entry in log_of(resumed)] == [10, 20]
    network = run(invented_slices, invented_slices[:2], resumed, SETTINGS)
    assert [entry["step"] for entry in log_of(resumed)] == [10, 20, 30]
    for key, value in whole.state_dict().items():
        torch.testing.assert_close(value, network.state_dict()[key], rtol=1e-4, atol=1e-5)


def test_an_ended_run_goes_on_when_it_is_given_more_steps(invented_slices, tmp_path):
    run(invented_slices, invented_slices[:2], tmp_path, SETTINGS)
    run(invented_slices, invented_slices[:2], tmp_path, dataclasses.replace(SETTINGS, steps=60))
    assert [entry["step"] for entry in log_of(tmp_path)] == [10, 20, 30, 40, 50, 60]


def test_no_two_steps_see_the_same_crops(invented_slices, tmp_path):
    seen = []

    class Spied(SliceTask):
        def random_batch(self, size, generator):
            batch = super().random_batch(size, generator)
            seen.append(batch[0])
            return batch

    task = Spied(SAMPLING, invented_slices, invented_slices[:2])
    settings = dataclasses.replace(SETTINGS, steps=3)
    fit(build(TINY.architecture, TINY.parameters), task, tmp_path, settings)
    assert len(seen) == 3
    assert not torch.equal(seen[0], seen[1])
    assert not torch.equal(seen[1], seen[2])


def test_another_seed_gives_another_network(invented_slices, tmp_path):
    short = dataclasses.replace(SETTINGS, steps=4)
    one = run(invented_slices, invented_slices[:2], tmp_path / "one", short)
    other = run(
        invented_slices, invented_slices[:2], tmp_path / "other",
        dataclasses.replace(short, seed=1),
    )  # fmt: skip
    assert not torch.equal(one.head.weight, other.head.weight)


def test_train_export_and_load(invented_slices, tmp_path, monkeypatch):
    """The whole way of a model, from prepared slices to verified weights."""
    monkeypatch.setattr(train_module, "RECIPES", {"tiny": TINY})
    monkeypatch.setattr(export_module, "RECIPES", {"tiny": TINY})
    monkeypatch.setattr(export_module, "TEXTS", {"tiny": export_module.TEXTS["cine_unet"]})
    for part in ("train", "validation"):
        for dataset in ("acdc", "sunnybrook", "synthetic"):
            chosen = [entry for entry in invented_slices if entry.dataset == dataset]
            if chosen:
                write_slices(tmp_path / "prepared" / f"{dataset}-{part}.npz", chosen)
    nowhere = tmp_path / "no-data"
    said = []
    folder = train_module.train("tiny", nowhere, tmp_path, steps=12, threads=1, say=said.append)
    assert [line.split(",")[0] for line in said] == ["step 12 of 12"]
    assert (folder / "checkpoint.pt").is_file()
    card = export_module.export("tiny", nowhere, tmp_path, version="9", folder=tmp_path / "weights")
    assert len(card.data) == 2
    alone = export_module.export(
        "tiny", nowhere, tmp_path, version="9", folder=tmp_path / "alone", sets=("acdc", "mnms")
    )
    assert alone.data == (export_module.DATA_OF_SET["acdc"],)
    export_module.add_metrics("tiny", {"test_acdc": {"patients": 3}}, tmp_path / "weights")
    (tmp_path / "prepared").rename(tmp_path / export_module.REFIT)
    refitted = export_module.export(
        "tiny", nowhere, tmp_path, version="10", folder=tmp_path / "weights", refit=True
    )
    assert not any("split.json" in entry for entry in refitted.data)
    assert refitted.limits.endswith(export_module.REFIT_NOTE)
    network, found = load("tiny", tmp_path / "weights")
    assert found.metrics == {"steps": 12, "test_acdc": {"patients": 3}}
    stored = torch.load(folder / "checkpoint.pt", weights_only=True)["average"]
    for key, value in network.state_dict().items():
        torch.testing.assert_close(value, stored[key], rtol=2e-3, atol=1e-5)


def test_training_starts_from_given_weights(invented_slices, tmp_path, monkeypatch):
    monkeypatch.setattr(train_module, "RECIPES", {"tiny": TINY})
    for part in ("train", "validation"):
        chosen = [entry for entry in invented_slices if entry.dataset == "acdc"]
        write_slices(tmp_path / "prepared" / f"acdc-{part}.npz", chosen)
    torch.manual_seed(7)
    given = build(TINY.architecture, TINY.parameters)
    save_weights(given, tmp_path / "given.npz")
    folder = train_module.train(
        "tiny", tmp_path / "no-data", tmp_path, steps=1, threads=1, sets=("acdc",),
        initial=tmp_path / "given.npz",
    )  # fmt: skip
    learned = torch.load(folder / "checkpoint.pt", weights_only=True)["network"]
    torch.testing.assert_close(learned["head.weight"], given.head.weight, rtol=0, atol=2e-3)


def test_a_model_without_a_recipe_is_refused(tmp_path):
    with pytest.raises(WeightsError, match="no recipe for model 'oracle'"):
        train_module.train("oracle", tmp_path, tmp_path)


def test_a_task_without_data_is_refused(tmp_path):
    with pytest.raises(NoDataError, match="acdc"):
        train_module.train("cine_unet", tmp_path, tmp_path, steps=1, sets=("acdc",))


SLICE_RECIPES = ["cine_unet", "cine_residual_unet", "heart_localiser", "lge_localiser", "lge_scar"]


@pytest.mark.parametrize("name", SLICE_RECIPES)
def test_every_slice_recipe_can_be_trained(name, invented_slices, lge_slice, tmp_path):
    recipe = RECIPES[name]
    sampling = recipe.load.args[0].args[0]
    grid = dataclasses.replace(sampling.grid, rows=32, columns=32)
    entries = (*invented_slices, lge_slice)
    task = SliceTask(dataclasses.replace(sampling, grid=grid), entries, (entries[0], lge_slice))
    settings = dataclasses.replace(SETTINGS, steps=2, batch=2, validate_every=2)
    fit(build(recipe.architecture, recipe.parameters), task, tmp_path, settings)
    assert log_of(tmp_path)[-1]["step"] == 2


def test_what_is_measured_of_scar_and_of_the_heart(lge_slice):
    class Scar(torch.nn.Module):
        def forward(self, images):
            return torch.tensor([0.0, 0, 0, 1, 0])[:, None, None].expand(len(images), 5, 128, 128)

    figures = {}
    for name in ("lge_scar", "lge_localiser"):
        task = SliceTask(RECIPES[name].load.args[0].args[0], [lge_slice], [lge_slice])
        figures[name] = task.validate(Scar(), "cpu")
    assert set(figures["lge_localiser"]) == {
        f"{kind}_emidec_{structure}_lge"
        for kind in ("dice", "ratio")
        for structure in ("lv", "myo")
    }
    assert figures["lge_scar"]["dice_emidec_infarct_lge"] > 0
    assert figures["lge_scar"]["dice_emidec_lv_lge"] == 0


@pytest.mark.parametrize(("optimiser", "rate"), [("adam", 1e-4), ("sgd", 1e-2)])
def test_the_published_optimisers_keep_their_rate(optimiser, rate, invented_slices, tmp_path):
    settings = dataclasses.replace(
        SETTINGS, steps=4, optimiser=optimiser, learning_rate=rate, average_decay=0.0
    )
    average = run(invented_slices, invented_slices[:2], tmp_path, settings)
    stored = torch.load(tmp_path / "checkpoint.pt", weights_only=True)
    assert stored["optimiser"]["param_groups"][0]["lr"] == rate
    for key, value in average.state_dict().items():
        torch.testing.assert_close(value, stored["network"][key])
