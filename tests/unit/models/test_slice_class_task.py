"""What the slice classifier learns from: balanced, patched, in both contrasts."""

import numpy as np
import pytest
import torch

from models.preprocess import normalise
from models.registry import build
from models.training.lge_contrast import as_lge
from models.training.losses import class_allowed
from models.training.metrics import classification
from models.training.slice_class_task import LGE_SLICES, SliceClassTask, lv_probability
from models.training.tasks import NoDataError
from models.training.whole_slices import laid, patched, plain_slices


@pytest.fixture(autouse=True)
def _one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.fixture
def task(invented_slices, lge_slice):
    return SliceClassTask(LGE_SLICES, (*invented_slices, lge_slice), (*invented_slices, lge_slice))


def test_lge_slices_serve_both_classes_and_cines_as_they_are(task):
    without, showing = (
        {entries[0].dataset: len(entries) for _, entries in pool} for pool in task.pools
    )
    assert showing == {"acdc": 6, "emidec": 1, "synthetic": 2}
    assert without == {"acdc": 1, "emidec": 1}


def test_a_class_that_is_missing_is_named(invented_slices):
    with pytest.raises(NoDataError):
        SliceClassTask(LGE_SLICES, invented_slices[:6], ())


def test_draws_are_balanced_repeatable_and_normalised(task):
    images, (classes, lv) = task.random_batch(48, generator())
    assert images.shape == (48, 1, 227, 227)
    assert 14 <= int(classes.sum()) <= 34
    assert images.flatten(1).mean(dim=1).abs().max() < 1e-3
    assert torch.equal(images, task.random_batch(48, generator())[0])
    assert torch.equal(lv.flatten(1).any(dim=1), classes.bool())


def test_a_patch_over_the_heart_hides_it_and_one_beside_does_not(invented_slices):
    entry = invented_slices[0]
    image, allowed, _ = laid(entry, entry.centre_yx)
    heart = class_allowed(allowed[0], 4)[0, 1:3].any(dim=0)
    beside = patched(image, allowed, generator(), over_heart=False)
    covered = patched(image, allowed, generator(), over_heart=True)
    assert torch.equal(beside[0, 0][heart], image[0, 0][heart])
    assert not torch.equal(beside, image)
    assert (covered[0, 0][heart] - image[0, 0][heart]).abs().gt(0.05).float().mean() > 0.6


def test_contrast_nulls_the_wall_keeps_blood_bright_and_the_outside_black(invented_slices):
    entry = invented_slices[0]
    image, allowed, inside = laid(entry, entry.centre_yx)
    for seed in range(12):
        changed = as_lge(image, allowed, inside, generator(seed))
        blood, wall = changed[allowed == 2].mean(), changed[allowed == 4].mean()
        assert blood > wall
        assert not changed[~inside].any()
        assert 0 <= changed.min() <= changed.max() <= 1
        assert not torch.equal(changed, as_lge(image, allowed, inside, generator(seed + 99)))


def test_plain_slices_come_in_both_contrasts_and_the_same_each_time(invented_slices, lge_slice):
    found = tuple(plain_slices((invented_slices[0], lge_slice)))
    assert [whole.contrast for whole in found] == ["cine", "as LGE", "LGE"]
    again = tuple(plain_slices((invented_slices[0],)))
    np.testing.assert_array_equal(found[1].image, again[1].image)
    assert np.abs(found[0].image / 255 - found[1].image).max() > 0.2


def test_confusion_and_what_follows():
    truth = [True] * 4 + [False] * 6
    found = [True, True, True, False] + [True] + [False] * 5
    figures = classification(found, truth)
    counts = [
        figures[f"{name}_{kind}"] for name in ("true", "false") for kind in ("positive", "negative")
    ]
    assert counts == [3, 5, 1, 1]
    assert (figures["precision"], figures["recall"], figures["f1"]) == (0.75, 0.75, 0.75)
    assert figures["balanced_accuracy"] == pytest.approx((3 / 4 + 5 / 6) / 2, abs=1e-4)
    assert "balanced_accuracy" not in classification([True], [True])


def test_validation_measures_what_service_would_say(task):
    network = build("slice_cnn", {"arrangement": 2}).eval()
    with torch.no_grad():
        network.head.weight.zero_()
        network.head.bias.fill_(1.0)
    figures = task.validate(network, "cpu")
    assert (figures["recall"], figures["specificity"], figures["balanced_accuracy"]) == (1, 0, 0.5)
    assert figures["true_positive"] == 2 * 8 + 1
    one = lv_probability(network, task.validation[:1], "cpu")
    assert float(one) == pytest.approx(torch.tensor(1.0).sigmoid().item())


def test_the_network_learns_to_tell_them_apart(task):
    torch.manual_seed(0)
    network = build("slice_cnn", {"arrangement": 2, "width": 8}).train()
    optimiser = torch.optim.Adam(network.parameters(), 3e-3)
    inputs, targets = task.random_batch(12, generator())
    losses = []
    for _ in range(12):
        loss = task.loss(network(normalise(inputs)), targets)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert losses[-1] < 0.5 * losses[0]


def test_a_network_is_told_where_the_lv_is(task):
    _, (classes, lv) = task.random_batch(8, generator())
    right = torch.nn.functional.adaptive_max_pool2d(lv.float(), (15, 15))[:, 0] * 40 - 20
    logits = torch.stack([-(2.0 * classes - 1), 2.0 * classes - 1], dim=1) * 10
    assert task.loss((logits, right), (classes, lv)) < 0.01
    assert task.loss((logits, right.flip(1)), (classes, lv)) > 1
    assert task.loss(logits, (classes, lv)) < 0.01
