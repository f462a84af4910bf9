"""Seconds per stage of the cine chain."""

import tempfile
import time
from pathlib import Path

import numpy as np

from config.schema import Settings
from dicom_node.phantom import write_cine_study
from dicom_node.process import read_inputs
from pipeline.assemble import assemble
from pipeline.cine import build_cine_pipeline
from pipeline.routing import propose


def run() -> None:
    """Print where the time goes for a synthetic study of 12 slices and 30 phases."""
    settings = Settings()
    with tempfile.TemporaryDirectory() as name:
        write_cine_study(Path(name), seed=1, phases=30, rows=256, columns=256)
        started = time.perf_counter()
        inputs = read_inputs([Path(name)])
        (proposal,) = propose(inputs.headers, settings.routes)
        stack = assemble(proposal, inputs.files, settings.pipelines.cine)
        print(f"read and assemble {time.perf_counter() - started:6.2f} s")
    started = time.perf_counter()
    pipeline = build_cine_pipeline(settings.pipelines.cine, settings.worker)
    print(f"load networks     {time.perf_counter() - started:6.2f} s")
    case = pipeline.run(stack)
    for record in case.provenance:
        print(f"{record.stage:<17} {record.seconds:6.2f} s on {record.device}")
    print(f"all stages        {np.sum([record.seconds for record in case.provenance]):6.2f} s")
