"""Seconds per stage of the cine chain, in both precisions, beside the networks alone."""

import tempfile
import time
from pathlib import Path
from typing import get_args

import numpy as np
import torch

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
    stack = _stack(cine)
    for precision in get_args(Precision):
        print(f"-- {precision}")
        _stages(stack, cine, WorkerSettings(precision=precision))


def _stack(cine: CineSettings) -> CineStack:
    with tempfile.TemporaryDirectory() as name:
        write_cine_study(Path(name), seed=1, phases=30, rows=256, columns=256)
        started = time.perf_counter()
        inputs = read_inputs([Path(name)])
        (proposal,) = propose(inputs.headers, Settings().routes)
        stack = assemble(proposal, inputs.files, cine)
        print(f"read and assemble {time.perf_counter() - started:6.2f} s")
    return stack


def _stages(stack: CineStack, cine: CineSettings, worker: WorkerSettings) -> None:
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
