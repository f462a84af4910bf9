"""The ED/ES detector: its read-outs, its projection, its indifference to where time starts."""

import numpy as np
import pytest
import torch

from models.ed_es_detector import central_frame, likeliest_frame, median_projection
from models.registry import build


def curve(values, frames=20):
    probability = np.full(frames, 0.01)
    for frame, value in values.items():
        probability[frame] = value
    return probability


@pytest.mark.parametrize(
    ("values", "frame"),
    [
        ({7: 0.95}, 7),
        ({6: 0.91, 7: 0.92, 8: 0.99}, 7),
        ({18: 0.95, 19: 0.96, 0: 0.97, 1: 0.93, 2: 0.91}, 0),
        ({19: 0.99, 0: 0.95, 1: 0.92}, 0),
        ({6: 0.91, 7: 0.95, 8: 0.93, 9: 0.99}, 7),
        ({6: 0.91, 7: 0.93, 8: 0.95, 9: 0.99}, 8),
        ({3: 0.95, 10: 0.92, 11: 0.93, 12: 0.94, 13: 0.95}, 11),
    ],
)
def test_the_central_method_takes_the_middle_of_what_passes(values, frame):
    found = central_frame(curve(values))
    assert (found.frame, found.sure) == (frame, True)


@pytest.mark.parametrize("shift", range(0, 20, 3))
def test_the_central_method_does_not_mind_where_the_cycle_starts(shift):
    probability = curve({6: 0.91, 7: 0.92, 8: 0.99})
    assert central_frame(np.roll(probability, shift)).frame == (7 + shift) % 20


def test_if_no_frame_passes_the_likeliest_is_taken_for_review():
    found = central_frame(curve({3: 0.6, 4: 0.89, 5: 0.7}))
    assert (found.frame, found.sure) == (4, False)
    assert central_frame(curve({3: 0.6}), threshold=0.5).sure


def test_the_naive_method_takes_the_likeliest():
    assert likeliest_frame(curve({6: 0.91, 7: 0.92, 9: 0.99})).frame == 9
    assert not likeliest_frame(curve({6: 0.5})).sure


def test_the_projection_leaves_out_the_end_slices():
    stack = np.zeros((2, 5, 3, 4), dtype=np.float32)
    stack[:, 0], stack[:, 4] = 100, 100
    stack[:, 1], stack[:, 2], stack[:, 3] = 1, 2, 9
    np.testing.assert_array_equal(median_projection(stack), np.full((2, 3, 4), 2.0))
    assert median_projection(stack, middle_only=True)[0, 0, 0] == 9
    assert median_projection(stack[:, :2])[0, 0, 0] == 50.5


@pytest.mark.parametrize("frames", [1, 5, 30])
def test_a_shift_in_time_shifts_the_output(frames):
    torch.manual_seed(0)
    network = build("ed_es_detector", {"width": 4, "size": 32}).eval()
    images = torch.randn(1, 1, frames, 32, 32)
    with torch.inference_mode():
        found = network(images)
        shifted = network(images.roll(3, dims=2))
    torch.testing.assert_close(shifted, found.roll(3, dims=2), rtol=1e-4, atol=1e-5)
    assert found.shape == (1, 3, frames)


def test_a_frame_knows_of_frames_twelve_away_and_no_farther():
    torch.manual_seed(0)
    network = build("ed_es_detector", {"width": 4, "size": 32}).eval()
    images = torch.randn(1, 1, 40, 32, 32, requires_grad=True)
    network(images)[0, :, 20].sum().backward()
    seen = images.grad[0, 0].abs().sum(dim=(1, 2)).nonzero()[:, 0]
    assert seen.max() <= 32
    assert seen.min() >= 8
    assert len(seen) > 3
