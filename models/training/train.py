"""Train a shipped model anew: `python -m models.training.train cine_unet DATA OUTPUT`."""

import argparse
from pathlib import Path

from models.registry import WeightsError
from models.training.data import SETS, prepare
from models.training.loop import TrainSettings, fit
from models.training.recipes import RECIPES


def train(
    model: str,
    data: Path,
    output: Path,
    *,
    steps: int = TrainSettings().steps,
    seed: int = 0,
    threads: int = 0,
    device: str = "cpu",
    sets: tuple[str, ...] = SETS,
) -> Path:
    """Train a model, or go on where an earlier call with the same output stopped.

    Parameters
    ----------
    model : str
        One of `models.training.recipes.RECIPES`.
    data : Path
        Folder of the labelled sets.
    output : Path
        Folder of the run: array files in `prepared`, checkpoint, log and curve in `<model>`.
    steps, seed, threads, device
        See `models.training.loop.TrainSettings`.
    sets : tuple of str
        Sets to fit on.

    Returns
    -------
    Path
        Folder of the run of this model, for `models.training.export.export`.

    Raises
    ------
    WeightsError
        There is no recipe for the model.
    """
    if model not in RECIPES:
        raise WeightsError(f"no recipe for model '{model}'; known: {', '.join(RECIPES)}")
    prepared = output / "prepared"
    fit(
        RECIPES[model],
        prepare(data, prepared, "train", sets),
        prepare(data, prepared, "validation", sets),
        output / model,
        TrainSettings(steps=steps, seed=seed, threads=threads),
        device=device,
    )
    return output / model


def main() -> None:
    """Command line of `train`."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", choices=list(RECIPES))
    parser.add_argument("data", type=Path)
    parser.add_argument("output", type=Path)
    parser.add_argument("--steps", type=int, default=TrainSettings().steps)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--sets", nargs="+", default=SETS)
    given = vars(parser.parse_args())
    train(**given | {"sets": tuple(given["sets"])})


if __name__ == "__main__":
    main()
