"""The slice classifier in service: what it says and where it looked."""

from dataclasses import asdict, replace

import numpy as np
import pytest
import torch

from models.preprocess import CropGrid, crop
from models.registry import WeightsError, build, card, save_weights
from models.slice_classifier import SliceClassifier, whole_slices
from models.training.cards import write_card
from models.training.slice_class_task import class_loss

GRID = CropGrid(rows=160, columns=160, spacing_mm=1.5)
SPACING = (1.5, 2.0)


def slices(places, rng):
    """Images of 160 x 120 pixels of noise, with a bright disc where a place is given."""
    rows, columns = np.mgrid[:160, :120]
    images = rng.normal(0, 0.1, (len(places), 160, 120)).astype(np.float32)
    for image, place in zip(images, places, strict=True):
        if place:
            far = np.hypot((rows - place[0]) * SPACING[0], (columns - place[1]) * SPACING[1])
            image[far < 18] += 1
    return images


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A network that has learnt to tell slices with a disc from slices without."""
    torch.manual_seed(0)
    rng = np.random.default_rng(0)
    parameters = {"arrangement": 2, "width": 4}
    network = build("slice_cnn", parameters).train()
    optimiser = torch.optim.Adam(network.parameters(), 1e-2)
    for _ in range(25):
        shown = rng.random(16) < 0.5
        places = [tuple(rng.uniform((40, 30), (120, 90))) if show else None for show in shown]
        images = torch.from_numpy(slices(places, rng))[:, None]
        middle = (images.shape[2] - 1) / 2, (images.shape[3] - 1) / 2
        there = crop((images > 0.6).float(), SPACING, middle, GRID)
        outputs = network(whole_slices(images, SPACING, GRID))
        loss = class_loss(outputs, torch.from_numpy(shown).long(), there > 0.5)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    here = tmp_path_factory.mktemp("weights")
    written = replace(
        card("cine_unet"), name="discs", task="slice_classification", architecture="slice_cnn",
        parameters=parameters, input=asdict(GRID), weights_file="discs.npz",
        weights_sha256=save_weights(network, here / "discs.npz"),
    )  # fmt: skip
    write_card(written, here)
    return here


def test_a_probability_for_each_slice(folder):
    classifier = SliceClassifier("discs", folder=folder)
    places = [None, (50, 40), None, (100, 80)] * 9  # more than are looked at at once
    found = classifier(slices(places, np.random.default_rng(1)), SPACING)
    assert found.dtype == np.float64
    assert ((found > 0.5) == [place is not None for place in places]).all()
    assert classifier(np.zeros((0, 160, 120), np.float32), SPACING).shape == (0,)


@pytest.mark.parametrize("place", [(50, 40), (110, 80)])
def test_grad_cam_shows_what_spoke_for_it(folder, place):
    classifier = SliceClassifier("discs", folder=folder)
    heat = classifier.grad_cam(slices([place], np.random.default_rng(2))[0], SPACING)
    assert (heat.shape, heat.max()) == ((160, 120), 1)
    assert heat.min() >= 0
    peak = np.argwhere(heat > 0.8).mean(axis=0)
    assert np.hypot(*((peak - place) * SPACING)) < 30


def test_a_model_for_something_else_is_refused():
    with pytest.raises(WeightsError, match="not for slice_classification"):
        SliceClassifier("cine_unet")
