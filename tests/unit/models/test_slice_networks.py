"""The slice networks are what the literature describes."""

import pytest
import torch
from torch import nn

from models.registry import build


def count(network):
    return sum(value.numel() for value in network.parameters())


@pytest.mark.parametrize(
    ("name", "of_thousand_classes", "features"),
    [("squeezenet", 1_235_496, 512), ("alexnet", 61_100_840, 4096), ("googlenet", 6_624_904, 1024)],
)
def test_parameters_are_those_of_the_literature(name, of_thousand_classes, features):
    """Published for 1000 classes; with two, 998 outputs fewer."""
    with torch.device("meta"):
        assert count(build(name, {"classes": 1000})) == of_thousand_classes
        assert count(build(name, {})) == of_thousand_classes - 998 * (features + 1)


@pytest.mark.parametrize(
    ("arrangement", "layers"),
    [
        (1, ["Conv2d", "ReLU"]),
        (2, ["Conv2d", "BatchNorm2d", "ReLU"]),
        (3, ["BatchNorm2d", "Conv2d", "ReLU"]),
    ],
)
def test_arrangements_differ_in_batch_normalisation_alone(arrangement, layers):
    network = build("slice_cnn", {"arrangement": arrangement})
    kinds = [type(layer).__name__ for layer in network.features]
    assert kinds == [*layers, "MaxPool2d"] * 3
    assert sum(isinstance(layer, nn.Conv2d) for layer in network.features) == 3


@pytest.mark.parametrize("name", ["slice_cnn", "squeezenet", "alexnet", "googlenet"])
def test_one_decision_per_slice_that_learns(name):
    torch.manual_seed(0)
    network = build(name, {}).train()
    outputs = network(torch.randn(2, 1, 227, 227))
    logits, *places = outputs if isinstance(outputs, tuple) else (outputs,)
    assert logits.shape == (2, 2)
    assert [tuple(entry.shape) for entry in places] == [(2, 15, 15)] * (name == "slice_cnn")
    logits.square().sum().backward()
    assert all(value.grad is not None and value.grad.any() for value in network.parameters())
