"""The regression U-net in service: volume and mask of a map that is known."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from models import regressor as module
from models.registry import WeightsError, build, card
from models.regression_unet import RegressionOutput
from models.regressor import VolumeRegressor
from models.training.cases import LabelledVolume
from models.training.measure import row_of_regression
from models.training.recipes import RECIPES


class Bright(torch.nn.Module):
    """A map that is 1 where the input is bright: it marks the blood of a drawn heart."""

    def forward(self, images):
        middle = (images.amax() + images.amin()) / 2
        return RegressionOutput((images[:, 0] > middle).float(), images)


@pytest.fixture
def bright(monkeypatch):
    made = replace(
        card("cine_unet"),
        task="volume_regression",
        input=RECIPES["cine_volume_regression"].input,
    )
    monkeypatch.setattr(module, "load", lambda *_: (Bright(), made))
    return VolumeRegressor("known")


def ball(radius_mm, spacing=(1.5, 1.2), shape=(5, 160, 180), centre=(70, 100)):
    rows, columns = np.mgrid[: shape[1], : shape[2]]
    distance = np.hypot((rows - centre[0]) * spacing[0], (columns - centre[1]) * spacing[1])
    return np.repeat((distance < radius_mm)[None], shape[0], 0)


def test_volume_and_mask_are_those_of_the_map_on_the_pixels_of_the_images(bright):
    truth = ball(25.0)
    found = bright(truth.astype(np.float32) * 200, (1.5, 1.2), 8.0, (72.0, 97.0))
    assert found.volume_ml == pytest.approx(np.pi * 25**2 * 5 * 8 / 1000, rel=0.05)
    assert 2 * (found.mask & truth).sum() / (found.mask.sum() + truth.sum()) > 0.95
    assert found.mask.sum() == pytest.approx(truth.sum(), rel=0.05)
    assert found.dilated.sum() > 1.15 * found.mask.sum()
    assert (found.dilated | ~found.mask).all()


def test_errors_of_large_hearts_are_told_apart(bright):
    class Centred:
        def __call__(self, images, spacing):
            return type("Found", (), {"centre_yx": (70.0, 100.0)})

    def volume(radius, phase):
        labels = ball(radius).astype(np.uint8)
        images = labels.astype(np.float32) * 200
        return LabelledVolume(images, labels, (1.5, 1.2), 20.0, "p", phase)

    large = row_of_regression(Centred(), bright, "acdc", volume(32, "ed"), volume(20, "es"))
    small = row_of_regression(Centred(), bright, "acdc", volume(25, "ed"), volume(20, "es"))
    assert large["lv_edv_error_above_250_ml"] == large["lv_edv_error_ml"]
    assert "lv_edv_error_above_250_ml" not in small
    assert abs(small["lv_ef_error"]) < 3


def test_a_model_of_another_task_is_refused():
    with pytest.raises(WeightsError, match="is for segmentation, not for volume_regression"):
        VolumeRegressor("cine_unet")


def test_the_network_itself_fits_the_chain(monkeypatch):
    made = replace(
        card("cine_unet"), task="volume_regression", input=RECIPES["cine_volume_regression"].input
    )
    network = build("regression_unet", {"width": 8}).eval()
    monkeypatch.setattr(module, "load", lambda *_: (network, made))
    found = VolumeRegressor("tiny")(ball(20.0).astype(np.float32), (1.5, 1.2), 8.0, (70.0, 100.0))
    assert found.volume_ml > 0
    assert found.mask.shape == found.dilated.shape == (5, 160, 180)
