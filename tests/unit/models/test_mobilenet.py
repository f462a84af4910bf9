"""MobileNet V1 is what the literature describes, and freezes what the perfusion study froze."""

import pytest
import torch
from torch import nn

from models.registry import build

HEAD = 1024 * 128 + 128 + 128 * 256 + 256


def count(network):
    return sum(value.numel() for value in network.parameters())


def test_full_width_has_the_size_of_the_literature_and_learns_a_step():
    """Published with 1000 classes: 4,231,976 of which 1,025,000 are its one linear layer."""
    torch.manual_seed(0)
    network = build("mobilenet", {})
    assert count(network.features) == 4_231_976 - 1_025_000
    assert count(network) == 3_206_976 + HEAD + 256 * 3 + 3
    before = network.head[-1].weight.detach().clone()
    optimiser = torch.optim.SGD(network.parameters(), 0.1)
    logits = network(torch.rand(2, 3, 224, 224))
    assert logits.shape == (2, 3)
    loss = nn.functional.cross_entropy(logits, torch.tensor([0, 2]))
    loss.backward()
    optimiser.step()
    assert torch.isfinite(loss)
    assert not torch.equal(before, network.head[-1].weight)


def test_what_ships_has_at_most_eight_million_parameters():
    with torch.device("meta"):
        assert count(build("mobilenet", {})) < 8e6


def test_half_the_width_is_about_a_quarter_of_the_features():
    with torch.device("meta"):
        half, full = (
            count(build("mobilenet", {"width_percent": width}).features) for width in (50, 100)
        )
    assert half / full == pytest.approx(0.26, abs=0.01)


def test_thirteen_blocks_halve_the_image_five_times():
    network = build("mobilenet", {"width_percent": 25}).eval()
    depthwise = [
        layer for layer in network.modules() if isinstance(layer, nn.Conv2d) and layer.groups > 1
    ]
    assert len(depthwise) == 13
    assert all(layer.groups == layer.in_channels for layer in depthwise)
    strides = [layer.stride[0] for layer in depthwise]
    assert [number for number, stride in enumerate(strides, 1) if stride == 2] == [2, 4, 6, 12]
    with torch.inference_mode():
        assert network.features(torch.rand(1, 3, 224, 224)).shape == (1, 256, 7, 7)
    rates = [layer.p for layer in network.modules() if isinstance(layer, nn.Dropout)]
    assert rates == [0.3, 0.4]


def test_every_parameter_gets_a_gradient():
    torch.manual_seed(1)
    network = build("mobilenet", {"width_percent": 25})
    network(torch.rand(4, 3, 64, 64)).square().sum().backward()
    assert not [name for name, value in network.named_parameters() if not value.grad.any()]


def test_frozen_blocks_keep_weights_and_statistics_and_the_others_learn():
    torch.manual_seed(2)
    network = build("mobilenet", {"width_percent": 25})
    network.freeze()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    network.train()
    optimiser = torch.optim.SGD(network.parameters(), 0.1)
    network(torch.rand(4, 3, 64, 64)).square().sum().backward()
    optimiser.step()
    changed = {
        name.split(".")[1]
        for name, value in network.state_dict().items()
        if name.startswith("features") and not torch.equal(value, before[name])
    }
    assert changed == {"10", "11", "12", "13"}
    assert not torch.equal(network.head[0].weight, before["head.0.weight"])
