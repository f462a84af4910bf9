"""ResNet50V2 is what the literature describes, and freezes what the study of groups froze."""

import pytest
import torch
from torch import nn

from models.registry import build


def count(network):
    return sum(value.numel() for value in network.parameters())


def test_full_width_has_the_size_of_the_literature():
    """Published without its last layer: 23,564,800, of which 45,440 are batch statistics."""
    with torch.device("meta"):
        features = build("resnet50v2", {}).features
    assert count(features) == pytest.approx(23.5e6, rel=0.01)
    statistics = sum(value.numel() for name, value in features.named_buffers() if "run" in name)
    assert (count(features) + statistics, statistics) == (23_564_800, 45_440)


def test_what_ships_has_at_most_eight_million_parameters():
    from models.training.recipes import RECIPES

    with torch.device("meta"):
        assert count(build("resnet50v2", RECIPES["cine_disease_images"].parameters)) < 8e6


def test_sixteen_bottlenecks_are_activated_first_and_halve_the_image_five_times():
    network = build("resnet50v2", {"width_percent": 25}).eval()
    blocks = [layer for layer in network.features if hasattr(layer, "residual")]
    assert [block.projected for block in blocks] == [
        number in (0, 3, 7, 13) for number in range(16)
    ]
    strides = [block.residual.look.stride[0] for block in blocks]
    assert [number for number, stride in enumerate(strides) if stride == 2] == [2, 6, 12]
    with torch.inference_mode():
        assert network.features(torch.rand(1, 3, 224, 224)).shape == (1, 512, 7, 7)
        block = blocks[1]
        images = torch.rand(1, 64, 8, 8)
        block.residual.widen.weight.zero_()
        block.residual.widen.bias.zero_()
        assert torch.equal(block(images), images)  # nothing stands on the way of the identity
        block.active[0].bias.fill_(-1e3)  # nothing is active, so nothing is looked at
        block.residual.reduce.weight.fill_(1.0)
        assert not block.residual.reduce(block.active(images)).any()


def test_every_parameter_gets_a_gradient():
    torch.manual_seed(1)
    network = build("resnet50v2", {"width_percent": 13})
    logits = network(torch.rand(4, 3, 64, 64))
    assert logits.shape == (4, 5)
    logits.square().sum().backward()
    dead = [name for name, value in network.named_parameters() if not value.grad.any()]
    assert dead == []


def test_from_a_weights_file_only_the_head_learns():
    torch.manual_seed(2)
    network = build("resnet50v2", {"width_percent": 13})
    network.freeze()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    network.train()
    optimiser = torch.optim.SGD(network.parameters(), 0.1)
    nn.functional.cross_entropy(network(torch.rand(4, 3, 64, 64)), torch.arange(4)).backward()
    optimiser.step()
    changed = {
        name for name, value in network.state_dict().items() if not torch.equal(value, before[name])
    }
    assert changed == {"head.weight", "head.bias"}
