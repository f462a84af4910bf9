"""Seconds of the cine chain: each stage, and the whole command, beside the network alone."""

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import get_args

import numpy as np
import torch

from config.loader import ENVIRONMENT_PREFIX
from config.schema import CineSettings, Settings, WorkerSettings
from dicom_node.phantom import write_cine_study
from dicom_node.process import read_inputs
from models.backend import Precision, choose_backend
from models.registry import load
from pipeline.assemble import assemble
from pipeline.case import CineStack
from pipeline.cine import build_cine_pipeline
from pipeline.routing import propose


def run() -> None:
    """Print where the time goes for a synthetic study of 12 slices and 30 phases."""
    cine = CineSettings()
    with tempfile.TemporaryDirectory() as name:
        study = Path(name) / "study"
        write_cine_study(study, seed=1, slices=12, phases=30, rows=256, columns=256)
        stack = _stack(study, cine)
        for precision in get_args(Precision):
            print(f"-- {precision}")
            alone = _stages(stack, cine, WorkerSettings(precision=precision))
            _command(study, Path(name) / precision, precision, alone)


def _stack(study: Path, cine: CineSettings) -> CineStack:
    started = time.perf_counter()
    inputs = read_inputs([study])
    (proposal,) = propose(inputs.headers, Settings().routes)
    stack = assemble(proposal, inputs.files, cine)
    print(f"read and assemble {time.perf_counter() - started:6.2f} s")
    return stack


def _stages(stack: CineStack, cine: CineSettings, worker: WorkerSettings) -> float:
    """Print the seconds of each stage; return those of the segmenter alone."""
    started = time.perf_counter()
    pipeline = build_cine_pipeline(cine, worker)
    print(f"load networks     {time.perf_counter() - started:6.2f} s")
    case = pipeline.run(stack)
    for record in case.provenance:
        print(f"{record.stage:<17} {record.seconds:6.2f} s on {record.device}")
    print(f"all stages        {np.sum([record.seconds for record in case.provenance]):6.2f} s")
    spent = {record.stage: record.seconds for record in case.provenance}["segmentation"]
    relevant = sum(case.relevance.relevant) if case.relevance else 0
    alone = _network_alone(cine, worker, relevant, len(stack.frames))
    print(f"segmentation costs {spent / alone:.2f} times its network alone, {alone:.2f} s")
    return alone


def _command(study: Path, output: Path, precision: Precision, alone: float) -> None:
    """Run `dicom-node process` from files to findings, in a process of its own."""
    command = [sys.executable, "-m", "dicom_node", "process", study, "--output", output]
    environment = os.environ | {f"{ENVIRONMENT_PREFIX}WORKER__PRECISION": precision}
    started = time.perf_counter()
    with subprocess.Popen(
        command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as running:
        _, status, used = os.wait4(running.pid, 0)
        running.returncode = os.waitstatus_to_exitcode(status)
    whole = time.perf_counter() - started
    told = json.loads((output / "findings.json").read_text(encoding="utf-8"))["provenance"]
    print(
        f"dicom-node process {whole:.2f} s ({used.ru_utime + used.ru_stime:.2f} s of processors,"
        f" {used.ru_maxrss / 1024:.0f} MB), its stages {sum(told['seconds'].values()):.2f} s on"
        f" {told['numeric_backend']}; {whole / alone:.2f} times the network alone"
    )


def _network_alone(cine: CineSettings, worker: WorkerSettings, slices: int, phases: int) -> float:
    """Seconds that the segmenter takes for as many slices and phases."""
    network, card = load(cine.segmenter)
    ready = choose_backend(worker.device, worker.precision).ready(network)
    channels = 2 * card.input["context"] + 1
    images = torch.rand(slices, channels, card.input["rows"], card.input["columns"])
    images = images.contiguous(memory_format=torch.channels_last)
    with torch.inference_mode():
        ready(images)
        started = time.perf_counter()
        for _ in range(phases):
            ready(images)
    return time.perf_counter() - started
