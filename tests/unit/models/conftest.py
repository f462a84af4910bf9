"""Labelled slices invented for tests of the training code."""

from dataclasses import replace

import numpy as np
import pytest

from models.training.slices import LabelledSlice


def make_slice(seed, dataset="acdc", patient="patient001", spacing=(1.5, 1.5), empty=False):
    """A ring (LV) and a disc beside it (RV) in noise."""
    rng = np.random.default_rng(seed)
    rows, columns = np.mgrid[:90, :100]
    centre = rng.uniform((32, 58), (40, 66))
    distance = np.hypot(rows - centre[0], columns - centre[1])
    labels = np.zeros((90, 100), dtype=np.uint8)
    if not empty:
        labels[np.hypot(rows - centre[0], columns - centre[1] + 22) < 12] = 3
        labels[distance < 18] = 2
        labels[distance < 12] = 1
    image = np.array([40, 200, 90, 190])[labels] + rng.normal(0, 10, labels.shape)
    return LabelledSlice(
        image=np.clip(image, 0, 255).astype(np.uint8),
        allowed=np.left_shift(np.uint8(1), labels),
        pixel_spacing_mm=spacing,
        centre_yx=(float(centre[0]), float(centre[1])),
        dataset=dataset,
        patient=patient,
        phase="ed",
    )


@pytest.fixture(scope="session")
def invented_slices():
    return (
        *(make_slice(seed) for seed in range(6)),
        make_slice(6, empty=True),
        *(make_slice(seed, dataset="synthetic", patient="synthetic-1") for seed in range(7, 9)),
    )


@pytest.fixture(scope="session")
def lge_slice(invented_slices):
    """A slice as EMIDEC labels it: no RV, infarct (bit 8) in half of the wall."""
    entry = invented_slices[0]
    allowed = np.where(entry.allowed == 8, 1, entry.allowed).astype(np.uint8)
    wall = np.argwhere(allowed == 4)
    allowed[tuple(wall[: len(wall) // 2].T)] = 8
    return replace(entry, allowed=allowed, dataset="emidec", patient="Case_P001", phase="lge")
