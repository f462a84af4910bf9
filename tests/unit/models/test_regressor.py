"""The regression U-net in service: areas and masks of a map that is known, and of a network."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from models import predict
from models.registry import WeightsError, build, card, save_weights
from models.regression_unet import RegressionOutput
from models.regressor import RegressedVolume, VolumeRegressor
from models.scanning import explanation_mask, scan
from models.training.cards import write_card
from models.training.cases import LabelledVolume
from models.training.measure import row_of_regression
from models.training.recipes import RECIPES
from models.training.regression_task import RegressionTask, VolumeSampling
from models.training.volumes import VolumeCase

RECIPE = RECIPES["cine_volume_regression"]


class Bright(torch.nn.Module):
    """A map that is 1 where the input is bright: it marks the blood of a drawn heart."""

    def forward(self, images):
        middle = (images.amax((-2, -1), keepdim=True) + images.amin((-2, -1), keepdim=True)) / 2
        return RegressionOutput((images > middle).float()[:, 0], images)


@pytest.fixture
def bright(monkeypatch):
    made = replace(card("cine_unet"), task="volume_regression", input=RECIPE.input)
    monkeypatch.setattr(predict, "load", lambda *_: (Bright(), made))
    return VolumeRegressor("known")


def ball(radius_mm, spacing=(1.5, 1.2), shape=(5, 160, 180), centre=(70, 100)):
    rows, columns = np.mgrid[: shape[1], : shape[2]]
    distance = np.hypot((rows - centre[0]) * spacing[0], (columns - centre[1]) * spacing[1])
    return np.repeat((distance < radius_mm)[None], shape[0], 0)


def test_areas_and_masks_are_those_of_the_map_on_the_pixels_of_the_images(bright):
    truth = ball(25.0)
    truth[0] = ball(15.0)[0]
    found = bright(truth.astype(np.float32) * 200, (1.5, 1.2), (72.0, 97.0))
    assert found.area_mm2 == pytest.approx(np.pi * np.array([15, 25, 25, 25, 25.0]) ** 2, rel=0.05)
    assert 2 * (found.explanation & truth).sum() / (found.explanation.sum() + truth.sum()) > 0.95
    assert found.explanation.sum() == pytest.approx(truth.sum(), rel=0.05)
    assert found.dilated.sum() > 1.15 * found.explanation.sum()
    assert (found.dilated | ~found.explanation).all()


def test_a_map_that_leaves_the_image_explains_what_lies_in_it(bright):
    truth = ball(25.0, centre=(0, 100))
    found = bright(truth.astype(np.float32) * 200, (1.5, 1.2), (-20.0, 100.0))
    assert 2 * (found.explanation & truth).sum() / (found.explanation.sum() + truth.sum()) > 0.9
    beside = bright(truth.astype(np.float32) * 200, (1.5, 1.2), (900.0, -900.0))
    assert not beside.explanation.any()


def test_what_is_found_lies_on_its_slices_in_a_longer_stack():
    masks = ball(20.0, shape=(2, 32, 32), centre=(16, 16))
    found = RegressedVolume(np.array([1.0, 2.0]), masks, ~masks).within([1, 2], 5)
    assert found.area_mm2.tolist() == [0, 1, 2, 0, 0]
    for part, given in ((found.explanation, masks), (found.dilated, ~masks)):
        np.testing.assert_array_equal(part[1:3], given)
        assert not part[[0, 3, 4]].any()


def test_errors_of_large_hearts_are_told_apart(bright):
    class Service:
        def regressed(self, frames, spacing, _):
            return tuple(bright(images, spacing, (70.0, 100.0)) for images in frames)

    def volume(radius, phase):
        labels = ball(radius).astype(np.uint8)
        images = labels.astype(np.float32) * 200
        return LabelledVolume(images, labels, (1.5, 1.2), 20.0, "p", phase)

    large = row_of_regression(Service(), "acdc", volume(32, "ed"), volume(20, "es"))
    small = row_of_regression(Service(), "acdc", volume(25, "ed"), volume(20, "es"))
    assert large["lv_edv_error_above_250_ml"] == large["lv_edv_error_ml"]
    assert small["lv_edv_true_ml"] == pytest.approx(np.pi * 25**2 * 5 * 20 / 1000, rel=0.02)
    assert "lv_edv_error_above_250_ml" not in small
    assert abs(small["lv_ef_error"]) < 3


def test_a_model_of_another_task_is_refused():
    with pytest.raises(WeightsError, match="is for segmentation, not for volume_regression"):
        VolumeRegressor("cine_unet")


def test_the_regressor_sees_in_service_what_it_saw_in_training(tmp_path):
    torch.manual_seed(0)
    network = build("regression_unet", {"width": 2})
    weights = save_weights(network, tmp_path / "tiny.npz")
    made = replace(
        card("cine_unet"), name="tiny", task=RECIPE.task, architecture=RECIPE.architecture,
        parameters={"width": 2}, input=RECIPE.input, weights_file="tiny.npz",
        weights_sha256=weights,
    )  # fmt: skip
    write_card(made, tmp_path)
    regressor = VolumeRegressor("tiny", folder=tmp_path)
    images = np.random.default_rng(3).integers(0, 255, (4, 120, 140)).astype(np.uint8)
    case = VolumeCase(images, 1.0, (1.5, 1.2), 8.0, (57.0, 73.0), "acdc", "p", "ed")
    sampling = VolumeSampling(RECIPE.load.args[0].args[0].grid)
    with torch.inference_mode():
        inputs = RegressionTask(sampling, [case], []).plain(case)
        cam = regressor._network(inputs).cam
    found = regressor(images.astype(np.float32), case.pixel_spacing_mm, case.centre_yx)
    assert found.area_mm2 == pytest.approx(scan(cam, 2.0).area_mm2[0].numpy(), rel=1e-5)
    assert found.area_mm2.std() > 0
    assert found.explanation.any() == explanation_mask(cam[0].numpy()).any()
