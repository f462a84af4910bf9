"""The one training loop of all models."""

import json
import time
from collections.abc import Sequence
from copy import deepcopy
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

import torch
from torch import nn

from models.registry import build, place
from models.training.batches import Drawable, plain_batch, random_batch
from models.training.losses import class_allowed, partial_loss
from models.training.recipes import Recipe
from models.training.slices import LabelledSlice


@dataclass(frozen=True, slots=True)
class TrainSettings:
    """Settings of a training run; kept in its checkpoints.

    Attributes
    ----------
    steps, batch : int
        Optimiser steps in all, and crops per step.
    learning_rate, weight_decay : float
        AdamW; the rate rises over `warmup_steps` and falls to zero on a cosine.
    average_decay : float
        Decay of the running average of the weights; the average is what is shipped.
    mixed_precision : bool
        bfloat16 autocast in the forward pass.
    seed : int
        Decides initial weights and every draw of every step.
    validate_every, checkpoint_every : int
        Steps between validations and between checkpoints.
    threads : int
        CPU threads; 0 lets the library choose.
    """

    steps: int = 12_000
    batch: int = 8
    learning_rate: float = 2e-3
    weight_decay: float = 1e-4
    warmup_steps: int = 200
    average_decay: float = 0.998
    mixed_precision: bool = True
    seed: int = 0
    validate_every: int = 500
    checkpoint_every: int = 250
    threads: int = 0


@dataclass(slots=True)
class _State:
    network: nn.Module
    average: nn.Module
    optimiser: torch.optim.Optimizer
    schedule: torch.optim.lr_scheduler.LRScheduler
    step: int = 0


def fit(
    recipe: Recipe,
    train: Sequence[LabelledSlice],
    validation: Sequence[LabelledSlice],
    folder: Path,
    settings: TrainSettings,
    *,
    device: str = "cpu",
    stop_after: int | None = None,
) -> nn.Module:
    """Train a network, or go on with the training that `folder` holds; return the average.

    The run ends at `settings.steps`, or early at the step `stop_after`, to be gone on with.
    Writes `checkpoint.pt`, `log.jsonl` and `curve.png` into `folder`.
    """
    torch.set_num_threads(settings.threads or torch.get_num_threads())
    folder.mkdir(parents=True, exist_ok=True)
    sets = {name: Drawable.of(train, name) for name in recipe.set_shares}
    sets = {name: drawable for name, drawable in sets.items() if drawable.showing}
    state = _start(recipe, folder / "checkpoint.pt", settings, device)
    losses: list[float] = []
    since = time.monotonic()
    end = min(settings.steps, stop_after or settings.steps)
    while state.step < end:
        generator = torch.Generator().manual_seed(settings.seed * 1_000_003 + state.step)
        images, allowed = random_batch(sets, recipe, settings.batch, generator)
        images = images.to(device, memory_format=torch.channels_last)
        with torch.autocast(device, torch.bfloat16, enabled=settings.mixed_precision):
            logits = state.network(images)
        loss = partial_loss(logits.float(), allowed.to(device))
        state.optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(state.network.parameters(), 1.0)
        state.optimiser.step()
        state.schedule.step()
        _average(state, settings.average_decay)
        state.step += 1
        losses.append(loss.item())
        if state.step % settings.validate_every == 0 or state.step == end:
            entry = {"step": state.step, "loss": fmean(losses), "seconds": time.monotonic() - since}
            entry |= validate(state.average, recipe, validation, device)
            with (folder / "log.jsonl").open("a", encoding="utf-8") as log:
                log.write(json.dumps(entry) + "\n")
            losses.clear()
        if state.step % settings.checkpoint_every == 0 or state.step == end:
            _save(state, settings, folder / "checkpoint.pt")
    draw_curve(folder / "log.jsonl", folder / "curve.png")
    return state.average


def _start(recipe: Recipe, checkpoint: Path, settings: TrainSettings, device: str) -> _State:
    torch.manual_seed(settings.seed)
    network = place(build(recipe.architecture, recipe.parameters), device)
    optimiser = torch.optim.AdamW(
        network.parameters(), settings.learning_rate, weight_decay=settings.weight_decay
    )
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimiser,
        settings.learning_rate,
        total_steps=settings.steps + 1,
        pct_start=min(settings.warmup_steps / settings.steps, 0.5),
        cycle_momentum=False,
    )
    state = _State(network, deepcopy(network).eval(), optimiser, schedule)
    if checkpoint.is_file():
        stored: dict[str, Any] = torch.load(checkpoint, map_location=device, weights_only=True)
        for name in ("network", "average", "optimiser", "schedule"):
            getattr(state, name).load_state_dict(stored[name])
        state.step = stored["step"]
    return state


def _average(state: _State, decay: float) -> None:
    """Move the averaged weights towards the current ones; faster in the first steps."""
    weight = 1 - min(decay, (1 + state.step) / (10 + state.step))
    with torch.no_grad():
        current = state.network.state_dict()
        for name, value in state.average.state_dict().items():
            if value.is_floating_point():
                value.lerp_(current[name], weight)
            else:
                value.copy_(current[name])


def _save(state: _State, settings: TrainSettings, path: Path) -> None:
    content = {
        name: getattr(state, name).state_dict()
        for name in ("network", "average", "optimiser", "schedule")
    }
    partial = path.with_suffix(".partial")
    torch.save(content | {"step": state.step, "settings": asdict(settings)}, partial)
    partial.replace(path)


def validate(
    network: nn.Module, recipe: Recipe, slices: Sequence[LabelledSlice], device: str = "cpu"
) -> dict[str, float]:
    """Dice over all pixels of the validation crops, per set, class and phase.

    Classes that a slice does not label do not count there. Keys read
    ``dice_<set>_<class>_<phase>``, volumes ``ratio_...`` (predicted over true).
    """
    sums: dict[str, torch.Tensor] = {}
    network.eval()
    for first in range(0, len(slices), 16):
        batch = slices[first : first + 16]
        images, allowed = plain_batch(batch, recipe)
        with torch.inference_mode():
            predicted = network(images.to(device, memory_format=torch.channels_last)).argmax(1)
        may_be = class_allowed(allowed, 4)
        single = may_be.sum(dim=1) == 1
        for index, entry in enumerate(batch):
            for label, name in ((1, "lv"), (2, "myo"), (3, "rv")):
                if (may_be[index, label] & ~single[index]).any():
                    continue
                truth = may_be[index, label]
                found = predicted[index].cpu() == label
                counts = torch.stack([(truth & found).sum(), found.sum(), truth.sum()])
                key = f"{entry.dataset}_{name}_{entry.phase}"
                sums[key] = sums.get(key, torch.zeros(3)) + counts
    result = {}
    for key, (both, found, truth) in sums.items():
        result[f"dice_{key}"] = round(float(2 * both / (found + truth).clamp(min=1)), 4)
        result[f"ratio_{key}"] = round(float(found / truth.clamp(min=1)), 4)
    return result


def draw_curve(log: Path, picture: Path) -> None:
    """Draw loss and validation Dice over the steps, from the log of a run."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    entries = [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines()]
    steps = [entry["step"] for entry in entries]
    figure = Figure(figsize=(9, 4), layout="constrained")
    FigureCanvasAgg(figure)
    left, right = figure.subplots(1, 2)
    left.plot(steps, [entry["loss"] for entry in entries])
    left.set(xlabel="step", ylabel="loss", yscale="log")
    for key in sorted({key for entry in entries for key in entry if key.startswith("dice_")}):
        right.plot(steps, [entry.get(key, float("nan")) for entry in entries], label=key[5:])
    right.set(xlabel="step", ylabel="validation Dice", ylim=(0.5, 1))
    right.legend(fontsize=6)
    figure.savefig(picture, dpi=120)
