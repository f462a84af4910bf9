"""The one training loop of all models."""

import json
import os
import time
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from copy import deepcopy
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from statistics import fmean
from typing import Any

import torch
from torch import nn

from models.backend import place
from models.training.tasks import Task, TrainSettings

# The course of the rate follows from the step and from how many there are now to be.
_STORED = ("network", "average", "optimiser")


@dataclass(slots=True)
class _State:
    network: nn.Module
    average: nn.Module
    optimiser: torch.optim.Optimizer
    schedule: torch.optim.lr_scheduler.LRScheduler
    step: int = 0
    best: dict[str, torch.Tensor] | None = None


def fit(
    network: nn.Module,
    task: Task,
    folder: Path,
    settings: TrainSettings,
    *,
    device: str = "cpu",
    stop_after: int | None = None,
    say: Callable[[str], None] = lambda _: None,
) -> nn.Module:
    """Train a network, or go on with the training that `folder` holds; return the average.

    The run ends at `settings.steps`, after `settings.patience` validations without gain, or early
    at the step `stop_after`, to be gone on with. With a patience the average of the validation that
    was best is what counts.
    Writes `checkpoint.pt`, `log.jsonl` and `curve.png` into `folder`, and tells `say` at every
    checkpoint how far it is.
    """
    torch.set_num_threads(settings.threads or torch.get_num_threads())
    folder.mkdir(parents=True, exist_ok=True)
    state = _start(network, folder / "checkpoint.pt", settings, device)
    losses: list[float] = []
    since = time.monotonic()
    end = min(settings.steps, stop_after or settings.steps)
    for inputs, targets in _batches(task, settings, range(state.step, end)):
        with torch.autocast(device, torch.bfloat16, enabled=settings.mixed_precision):
            outputs = state.network(_laid(inputs.to(device)))
        loss = task.loss(outputs, tuple(target.to(device) for target in targets))
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
            entry |= task.validate(state.average, device)
            with (folder / "log.jsonl").open("a", encoding="utf-8") as log:
                log.write(json.dumps(entry) + "\n")
            losses.clear()
            if settings.patience and _validations_since_best(folder / "log.jsonl") == 0:
                state.best = deepcopy(state.average.state_dict())
        over = state.step == end or _without_gain(folder / "log.jsonl", settings.patience)
        if state.step % settings.checkpoint_every == 0 or over:
            _save(state, settings, folder / "checkpoint.pt")
            minutes = (time.monotonic() - since) / 60
            say(f"step {state.step} of {settings.steps}, loss {loss.item():.3f}, {minutes:.0f} min")
        if over:
            break
    draw_curve(folder / "log.jsonl", folder / "curve.png")
    if state.best is not None:
        state.average.load_state_dict(state.best)
    return state.average


def _batches(
    task: Task, settings: TrainSettings, steps: range
) -> Iterator[tuple[torch.Tensor, tuple[torch.Tensor, ...]]]:
    """The batch of each step; the next ones are drawn while the network learns from this one."""

    def draw(step: int) -> tuple[torch.Tensor, tuple[torch.Tensor, ...]]:
        generator = torch.Generator().manual_seed(settings.seed * 1_000_003 + step)
        return task.random_batch(settings.batch, generator)

    workers = max((os.cpu_count() or 1) // 4, 1)
    with ThreadPoolExecutor(max_workers=workers) as drawers:
        ahead = deque(drawers.submit(draw, step) for step in steps[:workers])
        for step in steps:
            batch = ahead.popleft().result()
            if step + workers < steps.stop:
                ahead.append(drawers.submit(draw, step + workers))
            yield batch


def _laid(inputs: torch.Tensor) -> torch.Tensor:
    """Images [n, c, y, x] in channels-last order, which CPUs compute faster; others as they are."""
    return inputs.contiguous(memory_format=torch.channels_last) if inputs.ndim == 4 else inputs


def _start(network: nn.Module, checkpoint: Path, settings: TrainSettings, device: str) -> _State:
    network = place(network, device).train()
    optimiser, schedule = _optimiser(network, settings)
    state = _State(network, deepcopy(network).eval(), optimiser, schedule)
    if checkpoint.is_file():
        stored: dict[str, Any] = torch.load(checkpoint, map_location=device, weights_only=True)
        for name in _STORED:
            getattr(state, name).load_state_dict(stored[name])
        state.step = schedule.last_epoch = stored["step"]
        state.best = stored.get("best")
    return state


def _optimiser(
    network: nn.Module, settings: TrainSettings
) -> tuple[torch.optim.Optimizer, torch.optim.lr_scheduler.LRScheduler]:
    """The optimiser of a run and the course of its rate."""
    make: Any = {
        "adamw": torch.optim.AdamW,
        "adam": torch.optim.Adam,
        "sgd": partial(torch.optim.SGD, momentum=0.9),
    }[settings.optimiser]
    optimiser: torch.optim.Optimizer = make(
        network.parameters(), lr=settings.learning_rate, weight_decay=settings.weight_decay
    )
    if settings.optimiser != "adamw":
        return optimiser, torch.optim.lr_scheduler.ConstantLR(optimiser, factor=1.0)
    return optimiser, torch.optim.lr_scheduler.OneCycleLR(
        optimiser,
        settings.learning_rate,
        total_steps=max(settings.steps + 1, 4),  # fewer have no rise and fall
        pct_start=min(settings.warmup_steps / settings.steps, 0.5),
        cycle_momentum=False,
    )


def _without_gain(log: Path, patience: int) -> bool:
    """Whether the last validations, so many as the patience, brought no lower cross entropy."""
    return bool(patience) and log.is_file() and _validations_since_best(log) >= patience


def _validations_since_best(log: Path) -> int:
    """How many validations ago the cross entropy was lowest."""
    entries = [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines()]
    course = [entry["cross_entropy"] for entry in entries]
    return course[::-1].index(min(course))


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
    content = {name: getattr(state, name).state_dict() for name in _STORED}
    partial = path.with_suffix(".partial")
    content |= {"step": state.step, "settings": asdict(settings)}
    if state.best is not None:
        content["best"] = state.best
    torch.save(content, partial)
    partial.replace(path)


def draw_curve(log: Path, picture: Path) -> None:
    """Draw loss and validation figures over the steps, from the log of a run."""
    from matplotlib.figure import Figure

    entries = [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines()]
    steps = [entry["step"] for entry in entries]
    figure = Figure(figsize=(9, 4), layout="constrained")
    left, right = figure.subplots(1, 2)
    left.plot(steps, [entry["loss"] for entry in entries])
    left.set(xlabel="step", ylabel="loss", yscale="log")
    figures = {key for entry in entries for key in entry} - {"step", "loss", "seconds"}
    for key in sorted(key for key in figures if not key.startswith("ratio_")):
        right.plot(steps, [entry.get(key, float("nan")) for entry in entries], label=key)
    right.set(xlabel="step", ylabel="validation")
    if all(key.startswith(("dice_", "ratio_")) for key in figures):
        right.set(ylim=(0.5, 1))
    right.legend(fontsize=6)
    figure.savefig(picture, dpi=120)
