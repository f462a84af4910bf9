"""Seconds of the cine chain: each stage beside the networks in it, a study, the whole command."""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import get_args

import torch
from torch.nn.modules.module import (
    register_module_forward_hook,
    register_module_forward_pre_hook,
)

from config.loader import ENVIRONMENT_PREFIX
from config.schema import Settings, WorkerSettings
from dicom_node.phantom import write_cine_study
from dicom_node.process import read_inputs
from models.backend import Precision
from pipeline.analysis import Analyser, ResultIdentity
from pipeline.assemble import assemble
from pipeline.case import CineCase
from pipeline.cine import build_cine_pipeline
from pipeline.routing import propose


def run() -> None:
    """Print where the time goes for a synthetic study of 12 slices and 30 phases."""
    with tempfile.TemporaryDirectory() as name:
        study = Path(name) / "study"
        write_cine_study(study, seed=1, slices=12, phases=30, rows=256, columns=256)
        for precision in get_args(Precision):
            print(f"-- {precision}")
            settings = Settings(worker=WorkerSettings(precision=precision))
            _stages(study, settings)
            _studies(study, settings)
            _command(study, Path(name) / precision, precision)
            _command(study, Path(name) / precision, precision, "--profile", "full")


def _stages(study: Path, settings: Settings) -> None:
    """Print the seconds of each stage, and how many times those of its networks they are."""
    cine = settings.pipelines.cine
    started = time.perf_counter()
    inputs = read_inputs([study])
    (proposal,) = propose(inputs.headers, settings.routes)
    stack = assemble(proposal, inputs.files, cine)
    print(f"read and assemble {time.perf_counter() - started:6.2f} s")
    started = time.perf_counter()
    pipeline = build_cine_pipeline(cine, settings.worker)
    print(f"load networks     {time.perf_counter() - started:6.2f} s on {pipeline.device}")
    pipeline.run(stack)  # the first pass of a network is slower than those that follow
    case, whole = CineCase(stack), 0.0
    for stage in pipeline.stages:
        with _network_clock() as passes:
            started = time.perf_counter()
            case = stage(case)
            spent = time.perf_counter() - started
        beside = f"{spent / sum(passes):6.2f} times its networks alone" if passes else ""
        print(f"{stage.name:<17} {spent:6.2f} s{beside}")
        whole += spent
    print(f"all stages        {whole:6.2f} s")


@contextmanager
def _network_clock() -> Iterator[list[float]]:
    """Collect the seconds of every forward pass of a network; its parts do not count again."""
    seconds: list[float] = []
    running: list[float] = []

    def before(*_: object) -> None:
        running.append(time.perf_counter() if running else _now())

    def after(*_: object) -> None:
        started = running.pop()
        if not running:
            seconds.append(_now() - started)

    hooks = (register_module_forward_pre_hook(before), register_module_forward_hook(after))
    try:
        yield seconds
    finally:
        for hook in hooks:
            hook.remove()


def _now() -> float:
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter()


def _studies(study: Path, settings: Settings) -> None:
    """Print what a worker spends on its first study, and on the next, from files to objects."""
    analyser = Analyser(settings)
    for which in ("first", "next"):
        started = time.perf_counter()
        inputs = read_inputs([study])
        (proposal,) = propose(inputs.headers, settings.routes)
        identity = ResultIdentity(proposal.series_instance_uids[0], 1, datetime.now(UTC))
        analysis = analyser.analyse(proposal, inputs.files, identity)
        whole = time.perf_counter() - started
        stages = sum(analysis.findings.provenance.seconds.values())
        print(f"{which} study of a worker {whole:.2f} s, {stages:.2f} s of them in its stages")


def _command(study: Path, output: Path, precision: Precision, *options: str) -> None:
    """Run `dicom-node process` from files to findings, in a process of its own."""
    command = [sys.executable, "-m", "dicom_node", "process", study, "--output", output, *options]
    environment = os.environ | {f"{ENVIRONMENT_PREFIX}WORKER__PRECISION": precision}
    started = time.perf_counter()
    with subprocess.Popen(
        command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as running:
        _, status, used = os.wait4(running.pid, 0)
        running.returncode = os.waitstatus_to_exitcode(status)
    whole = time.perf_counter() - started
    print(
        f"{' '.join(['dicom-node process', *options])} {whole:.2f} s, exit code"
        f" {running.returncode} ({used.ru_utime + used.ru_stime:.2f} s of processors,"
        f" {used.ru_maxrss / 1024:.0f} MB)"
    )
