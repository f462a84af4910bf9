"""The published networks: sizes at full width, shapes, one step each."""

import pytest
import torch

from models.backend import place
from models.registry import build

FULL = {
    "unet_3d": ({"width": 64}, 87.5e6, (1, 1, 3, 32, 32)),
    "pspunet": ({"width": 32}, 30.8e6, (1, 1, 3, 32, 32)),
    "ed_es_detector": ({"width": 64}, 4.7e6, (1, 1, 2, 176, 176)),
    "regression_unet": ({"width": 32}, 21.9e6, (1, 1, 3, 24, 32)),
}
SHIPPED = {
    "unet_3d": {"width": 16},
    "pspunet": {"width": 8},
    "ed_es_detector": {},
    "regression_unet": {"width": 8},
}
SMALL = {
    "unet_3d": ({"width": 4}, (2, 1, 3, 48, 32)),
    "pspunet": ({"width": 4}, (2, 1, 3, 48, 32)),
    "ed_es_detector": ({"width": 4, "size": 32}, (2, 1, 6, 32, 32)),
    "regression_unet": ({"width": 4}, (2, 1, 3, 40, 24)),
}


def count(network):
    return sum(parameter.numel() for parameter in network.parameters())


def first(output):
    return output[0] if isinstance(output, tuple) else output


@pytest.mark.parametrize("name", FULL)
def test_full_width_has_the_published_size_and_learns_a_step(name):
    parameters, published, shape = FULL[name]
    torch.manual_seed(0)
    network = build(name, parameters)
    assert count(network) == pytest.approx(published, rel=0.01)
    head = [value for value in network.parameters() if value.ndim > 1][-1]
    before = head.detach().clone()
    optimiser = torch.optim.SGD(network.parameters(), 0.1)
    loss = first(network(torch.randn(shape))).square().mean()
    loss.backward()
    optimiser.step()
    assert torch.isfinite(loss)
    assert not torch.equal(before, head)


@pytest.mark.parametrize("name", SHIPPED)
def test_the_default_width_has_at_most_eight_million_parameters(name):
    with torch.device("meta"):
        assert 3e5 < count(build(name, SHIPPED[name])) < 8e6
        assert count(build(name, SHIPPED[name])) == count(build(name, {}))


@pytest.mark.parametrize(
    ("name", "shape"),
    [
        ("unet_3d", (2, 4, 3, 48, 32)),
        ("pspunet", (2, 4, 3, 48, 32)),
        ("ed_es_detector", (2, 3, 6)),
        ("regression_unet", (2, 3, 40, 24)),
    ],
)
def test_outputs_have_the_stated_shapes(name, shape):
    parameters, inputs = SMALL[name]
    network = build(name, parameters).eval()
    with torch.inference_mode():
        assert first(network(torch.randn(inputs))).shape == shape


@pytest.mark.parametrize("name", SMALL)
def test_every_parameter_gets_a_gradient(name):
    parameters, shape = SMALL[name]
    torch.manual_seed(1)
    network = build(name, parameters)
    output = first(network(torch.randn(shape)))
    (output * torch.randn(output.shape)).sum().backward()
    without = [key for key, value in network.named_parameters() if not value.grad.any()]
    assert not without


@pytest.mark.parametrize("name", SMALL)
def test_placing_changes_the_order_of_kernels_and_not_what_they_compute(name):
    parameters, shape = SMALL[name]
    torch.manual_seed(2)
    network, images = build(name, parameters).eval(), torch.randn(shape)
    with torch.inference_mode():
        before = first(network(images))
        placed = place(network, "cpu")
        torch.testing.assert_close(first(placed(images)), before, rtol=1e-3, atol=1e-4)
    kernels = [value for value in placed.parameters() if value.ndim in (4, 5)]
    orders = {4: torch.channels_last, 5: torch.channels_last_3d}
    assert kernels
    assert all(value.is_contiguous(memory_format=orders[value.ndim]) for value in kernels)


def test_the_3d_unet_looks_at_neighbouring_slices_and_the_pspunet_does_not():
    for name, looks in (("unet_3d", True), ("pspunet", False)):
        torch.manual_seed(3)
        network = build(name, {"width": 4}).eval()
        images = torch.randn(1, 1, 3, 32, 32, requires_grad=True)
        network(images)[0, :, 0].sum().backward()
        assert bool(images.grad[0, 0, 1].any()) is looks, name
        assert images.grad[0, 0, 0].any()


def test_the_pyramid_sees_sixteenfold_coarser_features_at_the_top():
    network = build("pspunet", {"width": 4})
    assert [len(module.paths) for module in network.skip] == [4, 3, 2, 1]
    assert [module.fuse[0].out_channels for module in network.skip] == [16, 32, 64, 128]
    features = torch.randn(1, 4, 96, 96, requires_grad=True)
    network.skip[0].eval()(features)[0, :, 48, 48].sum().backward()
    rows = features.grad[0].abs().sum(dim=(0, 2)).nonzero()
    assert rows.max() - rows.min() >= 47


def test_the_regression_map_lies_between_zero_and_one_and_keeps_88_pixels():
    network = build("regression_unet", {"width": 4}).eval()
    with torch.inference_mode():
        output = network(torch.randn(1, 1, 5, 88, 88))
    assert output.cam.shape == (1, 5, 88, 88)
    assert output.bottleneck.shape == (1, 64, 5, 6, 6)
    assert 0 < output.cam.min() < output.cam.max() < 1
