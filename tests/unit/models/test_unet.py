"""The slice networks: shapes, gradients, size."""

import pytest
import torch

from models.registry import build
from models.training.recipes import RECIPES

SLICE_MODELS = ("cine_unet", "cine_residual_unet", "heart_localiser")


def channels_of(recipe):
    return 2 * recipe.input["context"] + 1


@pytest.mark.parametrize("name", SLICE_MODELS)
def test_logits_have_the_shape_of_the_input(name):
    recipe = RECIPES[name]
    network = build(recipe.architecture, recipe.parameters).eval()
    with torch.inference_mode():
        logits = network(torch.zeros(2, channels_of(recipe), 64, 96))
    assert logits.shape == (2, 4, 64, 96)


@pytest.mark.parametrize("name", SLICE_MODELS)
def test_every_parameter_gets_a_gradient(name):
    recipe = RECIPES[name]
    network = build(recipe.architecture, recipe.parameters)
    outputs = network(torch.randn(2, channels_of(recipe), 64, 64))
    levels = outputs if isinstance(outputs, tuple) else (outputs,)
    sum(level.square().sum() for level in levels).backward()
    without = [key for key, value in network.named_parameters() if value.grad is None]
    assert not without
    assert all(value.grad.abs().sum() > 0 for value in network.parameters() if value.ndim > 1)


def test_the_residual_network_gives_every_resolution_in_training():
    network = build("residual_unet_2d", {"width": 4, "levels": 4})
    shapes = [tuple(level.shape) for level in network(torch.randn(2, 3, 32, 48))]
    assert shapes == [(2, 4, 32, 48), (2, 4, 16, 24), (2, 4, 8, 12)]


def test_the_segmenter_has_about_two_million_parameters():
    recipe = RECIPES["cine_unet"]
    network = build(recipe.architecture, recipe.parameters)
    assert sum(value.numel() for value in network.parameters()) == pytest.approx(1.94e6, rel=0.01)


def test_an_output_depends_on_distant_pixels():
    torch.manual_seed(0)
    network = build("unet_2d", {"width": 4, "levels": 5, "classes": 4}).eval()
    image = torch.randn(1, 1, 128, 128, generator=torch.Generator().manual_seed(0))
    image.requires_grad_()
    network(image)[0, 1, 64, 64].backward()
    rows = image.grad[0, 0].abs().sum(dim=1).nonzero()
    assert rows.max() - rows.min() > 60
