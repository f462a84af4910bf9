"""The dual-branch network is what was published, and what ships is small enough."""

import pytest
import torch

from models.ecg_network import ResNet18
from models.registry import build

# Counted by hand from the published table of layers: ResNet-18 without its head (11,176,512),
# 1x1 to 224, dense 16 and its normalisation, 3x3 to 32 and 64, 1x1 to 256, dense 512, dense 4.
PUBLISHED = 11_176_512 + 114_912 + 2_473_408 + 32 + 320 + 18_496 + 82_176 + 524_800 + 2_052


def count(network):
    return sum(value.numel() for value in network.parameters())


def test_full_width_has_the_published_size_and_learns_a_step():
    torch.manual_seed(0)
    network = build("ecg_dual_branch", {"width": 64})
    assert count(network) == PUBLISHED == 14_392_708
    head = network.head[-1].weight
    before = head.detach().clone()
    optimiser = torch.optim.SGD(network.parameters(), 0.1)
    logits = network(torch.randn(2, 3, 227, 227))
    assert logits.shape == (2, 4)
    torch.nn.functional.cross_entropy(logits, torch.tensor([1, 3])).backward()
    normalised_away = "whole.dense.1.bias"
    without = {key for key, value in network.named_parameters() if not value.grad.any()}
    assert without <= {normalised_away}
    optimiser.step()
    assert not torch.equal(head, before)


def test_what_ships_is_small_enough():
    with torch.device("meta"):
        network = build("ecg_dual_branch", {})
    assert 3e6 < count(network) < 8e6
    halves = sum(
        value.numel() * (2 if value.ndim > 1 else 4) for value in network.state_dict().values()
    )
    assert halves < 16 * 2**20


def test_resnet_18_is_that_of_the_literature():
    """11,689,512 with its head of 1000 classes (513,000)."""
    with torch.device("meta"):
        assert count(ResNet18(64)) == 11_689_512 - 513_000
        assert ResNet18(64)(torch.zeros(1, 3, 224, 224)).shape == (1, 512, 7, 7)


def test_the_branches_see_what_they_should():
    torch.manual_seed(1)
    network = build("ecg_dual_branch", {"width": 8}).eval()
    shown = {}
    for name in ("spatial", "whole", "fuse"):
        module = network.get_submodule(name)
        module.register_forward_hook(lambda _, __, out, name=name: shown.update({name: out.shape}))
    network(torch.zeros(3, 3, 227, 227))
    assert shown == {"spatial": (3, 224, 2, 2), "whole": (3, 96, 2, 2), "fuse": (3, 256, 2, 2)}
    first, both = network.whole.unpadded, network.whole.padded
    assert (first[0].padding, both[0].padding) == ((0, 0), (1, 1))


@pytest.mark.parametrize("corner", [(0, 0), (226, 226)])
def test_one_pixel_reaches_the_whole_image_branch(corner):
    torch.manual_seed(2)
    network = build("ecg_dual_branch", {"width": 8}).eval()
    images = torch.randn(2, 3, 227, 227)
    changed = images.clone()
    changed[:, 0, corner[0], corner[1]] += 50.0
    assert not torch.allclose(network.whole(images), network.whole(changed))
