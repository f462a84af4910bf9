"""Networks that nobody trained, which say what a test wants of any picture."""

from pathlib import Path

import torch
from torch import nn

from models.registry import Card, build, save_weights
from models.training.cards import write_card
from models.training.recipes import RECIPES


def write_network(folder: Path, name: str, says: int, logit: float = 6.0) -> Card:
    """Write card and weights of an untrained network of a recipe that prefers one class."""
    recipe = RECIPES[name]
    torch.manual_seed(0)
    network = build(recipe.architecture, recipe.parameters)
    last = [module for module in network.modules() if isinstance(module, nn.Linear)][-1]
    with torch.no_grad():
        last.weight.zero_()
        last.bias.zero_()
        last.bias[says] = logit
    folder.mkdir(parents=True, exist_ok=True)
    digest = save_weights(network, folder / f"{name}.npz")
    card = Card(
        name=name,
        version="untrained",
        task=recipe.task,
        summary="",
        intended_use="Tests.",
        limits="Knows nothing.",
        licence="Apache-2.0",
        data=("Nothing at all, Apache-2.0", "Synthetic noise (tests), Apache-2.0"),
        architecture=recipe.architecture,
        parameters=recipe.parameters,
        input=recipe.input,
        calibration={},
        metrics={},
        weights_file=f"{name}.npz",
        weights_sha256=digest,
    )
    write_card(card, folder)
    return card
