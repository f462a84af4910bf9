"""Keep the logits of the shipped weights: `python tests/golden/make_golden.py` after an export."""

from pathlib import Path

import numpy as np
import torch

from models.preprocess import CropGrid, crop, normalise
from models.registry import load, names
from models.synthetic.cine import synthesise_cine


def main() -> None:
    """Write one array file per model."""
    heart = synthesise_cine(7, slices=8, phases=2)
    image = torch.from_numpy(heart.frames[0, 3].copy())[None, None]
    middle = ((image.shape[2] - 1) / 2, (image.shape[3] - 1) / 2)
    for name in names():
        network, card = load(name)
        grid = CropGrid(card.input["rows"], card.input["columns"], card.input["spacing_mm"])
        cropped = crop(image, heart.pixel_spacing_mm, middle, grid)[0, 0]
        kept = (cropped / cropped.max() * 255).to(torch.uint8)
        with torch.inference_mode():
            logits = network(normalise(kept[None, None].float()))[0, :, ::8, ::8].numpy()
        np.savez_compressed(
            Path(__file__).with_name(f"{name}.npz"),
            image=kept.numpy(),
            logits=logits,
            weights_sha256=card.weights_sha256,
        )


if __name__ == "__main__":
    main()
