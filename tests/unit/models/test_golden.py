"""Each shipped model gives what was kept when its weights were exported.

`tests/golden/<model>.npz` holds slices of a synthetic heart as the network takes them, its outputs
(maps at every eighth pixel) and the SHA-256 of the weights. The tolerance of 0.02 (logits span
about 20) allows for another CPU and another version of torch; a wrong normalisation or layer is
far outside.
"""

import numpy as np
import pytest
import torch

from models.registry import card, names
from tests.golden.make_golden import FOLDER, outputs_of


@pytest.mark.parametrize("name", names())
def test_outputs_are_the_golden_ones(name):
    with np.load(FOLDER / f"{name}.npz") as golden:
        images, expected = torch.from_numpy(golden["images"]), golden["outputs"]
        assert str(golden["weights_sha256"]) == card(name).weights_sha256
    np.testing.assert_allclose(outputs_of(name, images), expected, atol=0.02)
    assert np.ptp(expected) > 0.5
