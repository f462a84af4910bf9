"""Keep what the shipped weights give: `python -m tests.golden.make_golden` after an export."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from models.disease_classifier import in_three_channels
from models.ecg_sheet import SheetStyle, draw_sheet, prepared
from models.perfusion_classifier import network_input
from models.preprocess import CropGrid, crop, normalise
from models.registry import Card, card, load, names
from models.spect_sheet import sheet
from models.synthetic.cine import synthesise_cine
from models.synthetic.ecg import synthesise_ecg
from models.synthetic.spect import synthesise_spect

FOLDER = Path(__file__).parent


def inputs_of(images: Tensor, described: Card) -> Tensor:
    """Input of the network of a card, made of what `images_of` gives."""
    if described.task == "disease_classification":
        return images[None] if images.ndim == 1 else in_three_channels(images.float())
    if described.task == "ecg_classification":
        return torch.from_numpy(prepared(images.numpy()))[None]
    if described.task == "perfusion_classification":
        return network_input(images.numpy())[None]
    normal = normalise(images[:, None].float())[:, 0]
    if described.task in {"ed_es_detection", "volume_regression"} or "depth" in described.input:
        return normal[None, None, : described.input.get("depth")]
    return normal[None, : 2 * described.input.get("context", 0) + 1]


def outputs_of(name: str, images: Tensor) -> np.ndarray[Any, np.dtype[np.float32]]:
    """What a shipped network gives for its images, see `inputs_of`; maps thinned out."""
    network, described = load(name)
    with torch.inference_mode():
        found = network(inputs_of(images, described))
    values: Tensor = found[0] if isinstance(found, tuple) else found
    thinned = values[..., ::8, ::8] if values.ndim > 3 else values
    kept: np.ndarray[Any, np.dtype[np.float32]] = thinned[0].float().numpy()
    return kept


def images_of(described: Card) -> Tensor:
    """Images uint8 for the network of a card: a sheet, slices of a heart, ED and ES; or numbers.

    Numbers [features] lie up to two spreads beside the mean of those learned from.
    """
    if "features" in described.input:
        network, _ = load(described.name)
        steps = torch.linspace(-2, 2, len(described.input["features"]))
        numbers: Tensor = network.mean + network.spread * steps
        return numbers
    if described.task == "ecg_classification":
        drawn = synthesise_ecg(7)
        paper = draw_sheet(drawn.leads, drawn.hz, style=SheetStyle(dots_per_mm=2.0))
        return torch.from_numpy(paper.copy())
    if described.task == "perfusion_classification":
        study = synthesise_spect(7)
        views = (study.stress, study.ventricles["stress"]), (study.rest, study.ventricles["rest"])
        return torch.from_numpy(sheet(*views))
    heart = synthesise_cine(7, slices=8, phases=2)
    both = described.task == "disease_classification"
    phases = heart.frames[:, 1:7] if both else heart.frames[:1, 1:7]
    slices = torch.from_numpy(phases.copy()).transpose(0, 1)
    middle = ((slices.shape[2] - 1) / 2, (slices.shape[3] - 1) / 2)
    geometry = described.input
    grid = CropGrid(geometry["rows"], geometry["columns"], geometry["spacing_mm"])
    cropped = crop(slices, heart.pixel_spacing_mm, middle, grid)
    cropped = cropped if both else cropped[:, 0]
    return (cropped / cropped.max() * 255).to(torch.uint8)


def main() -> None:
    """Write one array file per model."""
    for name in names():
        found = card(name)
        images = images_of(found)
        np.savez_compressed(
            FOLDER / f"{name}.npz",
            images=images.numpy(),
            outputs=outputs_of(name, images),
            weights_sha256=found.weights_sha256,
        )


if __name__ == "__main__":
    main()
