"""What any classifier of images learns from, and how it is measured."""

import dataclasses
import json

import pytest
import torch
from torch import nn

from models.training.image_class_task import ClassedImages, ImageClassTask
from models.training.loop import fit
from models.training.metrics import class_figures
from models.training.tasks import NoDataError, TrainSettings

CLASSES = ("dark", "grey", "bright")


@dataclasses.dataclass(frozen=True)
class Patch:
    value: float
    label: int
    dataset: str = "real"


def noisy(case, generator):
    return torch.full((1, 4, 4), case.value) + 0.01 * torch.randn((1, 4, 4), generator=generator)


def plain(case):
    return torch.full((1, 4, 4), case.value)


IMAGES = ClassedImages(CLASSES, noisy, plain, {"real": 1.0, "synthetic": 1.0})
PATCHES = (*[Patch(-1.0, 0)] * 6, *[Patch(0.0, 1)] * 3, Patch(1.0, 2), Patch(1.1, 2, "synthetic"))


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


class Mean(nn.Module):
    """Logits from the mean of the image: right for every patch."""

    def forward(self, images):
        mean = images.flatten(1).mean(dim=1, keepdim=True)
        return -10 * (mean - torch.tensor([-1.0, 0.0, 1.0])).abs()


def test_each_class_is_drawn_as_often_as_any_other_and_draws_repeat():
    task = ImageClassTask(IMAGES, PATCHES, PATCHES)
    images, (classes,) = task.random_batch(300, generator())
    assert torch.bincount(classes).tolist() == pytest.approx([100] * 3, abs=25)
    assert torch.equal(images, task.random_batch(300, generator())[0])
    means = images.flatten(1).mean(dim=1)
    assert (means - (classes - 1.0)).abs().max() < 0.2
    assert 30 < int((means > 1.05).sum()) < 70  # half of the bright ones: the share of their set
    assert torch.equal(task.class_weights, torch.ones(3))


def test_weighted_draws_are_as_the_sets_are_and_rare_classes_weigh_more():
    task = ImageClassTask(dataclasses.replace(IMAGES, weighted=True), PATCHES[:10], PATCHES)
    _, (classes,) = task.random_batch(300, generator())
    assert torch.bincount(classes).tolist() == pytest.approx([180, 90, 30], abs=25)
    torch.testing.assert_close(task.class_weights, torch.tensor([10 / 18, 10 / 9, 10 / 3]))
    logits = torch.tensor([[5.0, 0.0, 0.0], [5.0, 0.0, 0.0]])
    mild, severe = (task.loss(logits, (torch.tensor([0, label]),)) for label in (1, 2))
    assert severe > mild


def test_a_class_or_a_set_that_is_missing_is_named():
    with pytest.raises(NoDataError, match="class: bright"):
        ImageClassTask(IMAGES, PATCHES[:9], ())
    with pytest.raises(NoDataError, match="dark, grey"):
        ImageClassTask(dataclasses.replace(IMAGES, set_shares={"synthetic": 1.0}), PATCHES, ())


def test_smoothing_spreads_a_share_of_the_truth():
    sure = torch.tensor([[30.0, 0.0, 0.0]])
    plainly = ImageClassTask(IMAGES, PATCHES, ()).loss(sure, (torch.tensor([0]),))
    smooth = dataclasses.replace(IMAGES, label_smoothing=0.3)
    smoothed = ImageClassTask(smooth, PATCHES, ()).loss(sure, (torch.tensor([0]),))
    assert float(plainly) == pytest.approx(0, abs=1e-6)
    assert float(smoothed) == pytest.approx(0.2 * 30, rel=1e-3)


def test_validation_tells_each_class_and_each_set():
    wrong = (*PATCHES, Patch(1.0, 0, "synthetic"))
    figures = ImageClassTask(IMAGES, PATCHES, wrong).validate(Mean(), "cpu")
    assert figures["sensitivity_dark"] == pytest.approx(6 / 7, abs=1e-4)
    assert figures["balanced_accuracy"] == pytest.approx((6 / 7 + 2) / 3, abs=1e-4)
    assert figures["accuracy_real"] == 1
    assert figures["sensitivity_dark_synthetic"] == 0
    assert "sensitivity_grey_synthetic" not in figures
    assert figures["cross_entropy"] > 1
    alone = ImageClassTask(IMAGES, PATCHES, PATCHES[:9]).validate(Mean(), "cpu")
    assert not any(name.endswith("_real") for name in alone)


def test_figures_of_classes_by_hand():
    truth = [0, 0, 0, 0, 1, 1, 3]
    found = [0, 0, 0, 1, 1, 0, 1]
    figures = class_figures(found, truth, ("a", "b", "c", "d"))
    assert figures == {
        "n_a": 4, "sensitivity_a": 0.75, "precision_a": 0.75,
        "n_b": 2, "sensitivity_b": 0.5, "precision_b": 0.3333,
        "n_c": 0,
        "n_d": 1, "sensitivity_d": 0.0,
        "accuracy": 0.5714, "balanced_accuracy": 0.4167,
        "a_as_a": 3, "a_as_b": 1, "b_as_a": 1, "b_as_b": 1, "d_as_b": 1,
    }  # fmt: skip
    assert class_figures([], [], ("a",)) == {"n_a": 0}


class Worsening(ImageClassTask):
    """Its validation gains twice, then no more."""

    def validate(self, network, device):
        self.seen = getattr(self, "seen", 0) + 1
        return {"cross_entropy": {1: 0.5, 2: 0.3}.get(self.seen, 0.4)}


@pytest.mark.parametrize(("patience", "steps"), [(0, 20), (3, 10)])
def test_a_run_without_gain_ends_when_patience_does(patience, steps, tmp_path):
    settings = TrainSettings(
        steps=20, batch=2, mixed_precision=False, threads=1, validate_every=2,
        checkpoint_every=100, patience=patience,
    )  # fmt: skip
    network = nn.Sequential(nn.Flatten(), nn.Linear(16, 3))
    before = torch.get_num_threads()
    fit(network, Worsening(IMAGES, PATCHES, PATCHES), tmp_path, settings)
    torch.set_num_threads(before)
    entries = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert entries[-1]["step"] == steps
    assert torch.load(tmp_path / "checkpoint.pt", weights_only=True)["step"] == steps


def test_the_best_validation_is_what_a_run_with_patience_gives(tmp_path):
    settings = TrainSettings(
        steps=20, batch=2, mixed_precision=False, threads=1, validate_every=2,
        checkpoint_every=100, patience=3, learning_rate=0.1, average_decay=0.0,
    )  # fmt: skip
    seen = []

    class Watching(Worsening):
        def validate(self, network, device):
            seen.append({key: value.clone() for key, value in network.state_dict().items()})
            return super().validate(network, device)

    network = nn.Sequential(nn.Flatten(), nn.Linear(16, 3))
    before = torch.get_num_threads()
    given = fit(network, Watching(IMAGES, PATCHES, PATCHES), tmp_path, settings)
    torch.set_num_threads(before)
    best = seen[1]["1.weight"]
    assert not torch.equal(best, seen[-1]["1.weight"])
    assert torch.equal(given.state_dict()["1.weight"], best)
    stored = torch.load(tmp_path / "checkpoint.pt", weights_only=True)
    assert torch.equal(stored["best"]["1.weight"], best)
    assert torch.equal(stored["average"]["1.weight"], seen[-1]["1.weight"])
