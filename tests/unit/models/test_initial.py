"""Initial weights come from a file, or the reason why not."""

import re

import numpy as np
import pytest
import torch

from models.initial import load_initial
from models.registry import WeightsError, build, save_weights


@pytest.fixture
def networks():
    torch.manual_seed(0)
    return build("unet_2d", {"width": 4, "levels": 3}), build("unet_2d", {"width": 4, "levels": 3})


def same(one, other, **tolerance):
    for key, value in one.state_dict().items():
        torch.testing.assert_close(other.state_dict()[key], value, **tolerance)


def test_shipped_weights(networks, tmp_path):
    save_weights(networks[0], tmp_path / "w.npz")
    load_initial(networks[1], tmp_path / "w.npz")
    same(*networks, rtol=1e-3, atol=1e-4)
    assert networks[1].head.weight.dtype == torch.float32


def test_a_state_dict_and_a_checkpoint(networks, tmp_path):
    state = networks[0].state_dict()
    torch.save(state, tmp_path / "plain.pt")
    torch.save({"average": state, "network": {}, "step": 3}, tmp_path / "checkpoint.pt")
    for name in ("plain.pt", "checkpoint.pt"):
        fresh = build("unet_2d", {"width": 4, "levels": 3})
        load_initial(fresh, tmp_path / name)
        same(networks[0], fresh)


def test_the_best_weights_of_a_run_come_before_its_last(networks, tmp_path):
    best, last = (network.state_dict() for network in networks)
    torch.save({"average": last, "best": best, "network": {}}, tmp_path / "checkpoint.pt")
    fresh = build("unet_2d", {"width": 4, "levels": 3})
    load_initial(fresh, tmp_path / "checkpoint.pt")
    same(networks[0], fresh)


def test_features_alone_leave_the_head_and_must_be_all(tmp_path):
    torch.manual_seed(0)
    known, fresh = (build("mobilenet", {"width_percent": 25}) for _ in range(2))
    head = fresh.head[0].weight.clone()
    features = {name: v for name, v in known.state_dict().items() if name.startswith("features")}
    torch.save(features, tmp_path / "w.pt")
    load_initial(fresh, tmp_path / "w.pt")
    same(known.features, fresh.features)
    assert torch.equal(fresh.head[0].weight, head)
    torch.save(known.state_dict(), tmp_path / "all.pt")
    load_initial(fresh, tmp_path / "all.pt")
    same(known, fresh)
    features.popitem()
    torch.save(features, tmp_path / "w.pt")
    with pytest.raises(WeightsError, match=r"missing: features"):
        load_initial(fresh, tmp_path / "w.pt")


def test_weights_that_do_not_fit_are_named_and_nothing_changes(networks, tmp_path):
    network, other = networks[0], build("unet_2d", {"width": 6, "levels": 3})
    before = {key: value.clone() for key, value in network.state_dict().items()}
    deeper = build("unet_2d", {"width": 4, "levels": 4}).state_dict()
    few = {key: value for key, value in before.items() if key != "head.bias"}
    for state, reason in (
        (
            other.state_dict(),
            r"another shape: down\.0\.0\.weight \(6, 1, 3, 3\) for \(4, 1, 3, 3\)",
        ),
        (deeper, r"unknown: down\.3"),
        (few, r"missing: head\.bias \(1 in all\)"),
    ):
        torch.save(state, tmp_path / "w.pt")
        with pytest.raises(WeightsError, match=reason):
            load_initial(network, tmp_path / "w.pt")
    for key, value in network.state_dict().items():
        assert torch.equal(value, before[key])


@pytest.mark.parametrize("name", ["w.pt", "w.npz"])
def test_a_file_that_is_missing_or_damaged_is_named(networks, tmp_path, name):
    with pytest.raises(WeightsError, match=rf"missing: {re.escape(name)}"):
        load_initial(networks[0], tmp_path / name)
    for content in (b"", b"no weights", b"PK\x03\x04 broken"):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(WeightsError, match=re.escape(name)):
            load_initial(networks[0], tmp_path / name)


class Unwelcome:
    """Would run code when unpickled."""

    def __reduce__(self):
        return (print, ("ran",))


def test_a_file_that_holds_code_is_refused(networks, tmp_path, capsys):
    torch.save({"head.bias": Unwelcome()}, tmp_path / "w.pt")
    with pytest.raises(WeightsError, match=r"w\.pt"):
        load_initial(networks[0], tmp_path / "w.pt")
    np.savez(tmp_path / "w.npz", x=np.array([Unwelcome()], dtype=object))
    with pytest.raises(WeightsError, match=r"w\.npz"):
        load_initial(networks[0], tmp_path / "w.npz")
    assert "ran" not in capsys.readouterr().out


def test_something_else_than_weights_is_refused(networks, tmp_path):
    torch.save([1, 2], tmp_path / "w.pt")
    with pytest.raises(WeightsError, match="no state dict"):
        load_initial(networks[0], tmp_path / "w.pt")
