"""Each shipped model gives the logits that were kept when its weights were exported.

`tests/golden/<model>.npz` holds an input made from a synthetic heart, the logits at every eighth
pixel and the SHA-256 of the weights. The tolerance of 0.02 (logits span about 20) allows for
another CPU and another version of torch; a wrong normalisation or layer is far outside.
"""

from pathlib import Path

import numpy as np
import pytest
import torch

from models.preprocess import normalise
from models.registry import load, names

GOLDEN = Path(__file__).parents[2] / "golden"


@pytest.mark.parametrize("name", names())
def test_logits_are_the_golden_ones(name):
    network, card = load(name)
    with np.load(GOLDEN / f"{name}.npz") as golden:
        image, expected = torch.from_numpy(golden["image"]), golden["logits"]
        assert str(golden["weights_sha256"]) == card.weights_sha256
    with torch.inference_mode():
        logits = network(normalise(image[None, None].float()))[0, :, ::8, ::8].numpy()
    np.testing.assert_allclose(logits, expected, atol=0.02)
    assert np.ptp(expected) > 5
