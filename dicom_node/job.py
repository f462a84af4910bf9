"""One job in a worker process: gets paths, returns paths. It never sees the database."""

import multiprocessing
import os
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from config.schema import Settings
from dicom_node.logs import configure_logs
from pipeline.analysis import Analyser, ResultIdentity, StandingResult
from pipeline.errors import NotYetCovered, Rejection
from pipeline.findings import SeriesFindings
from pipeline.headers import read_header
from pipeline.routing import Proposal


@dataclass(frozen=True, slots=True)
class JobRequest:
    """What a worker process needs to know of a job.

    Attributes
    ----------
    pipeline : str
        The pipeline that was proposed.
    files : mapping of SOP Instance UID to Path
        The stack.
    identity : ResultIdentity
        Fixed when the job was made, so that a second attempt writes the same bytes.
    require_coverage : bool
        The stack was started early: defer when an end slice still shows the LV.
    output : Path
        Folder for the result objects.
    study : tuple of SeriesFindings
        What was found in other stacks of the same patient and study.
    standing : StandingResult or None
        The result that the stack has.
    """

    pipeline: str
    files: Mapping[str, Path]
    identity: ResultIdentity
    require_coverage: bool
    output: Path
    study: tuple[SeriesFindings, ...] = ()
    standing: StandingResult | None = None


@dataclass(frozen=True, slots=True)
class ResultFile:
    """A result object on disk."""

    role: str
    path: Path
    sop_instance_uid: str
    sop_class_uid: str
    series_instance_uid: str


@dataclass(frozen=True, slots=True)
class Completed:
    """The stack was measured."""

    results: tuple[ResultFile, ...]
    findings_json: str


@dataclass(frozen=True, slots=True)
class Rejected:
    """The stack cannot be measured; a retry changes nothing."""

    code: str
    reason: str


@dataclass(frozen=True, slots=True)
class Deferred:
    """Started too early: more slices are probably on their way."""

    reason: str


Outcome = Completed | Rejected | Deferred

_analyser: Analyser | None = None


def start_process(settings: Settings) -> None:
    """Prepare a worker process: its log, its networks' home, and its end with the node's."""
    global _analyser  # noqa: PLW0603 - a worker process keeps its networks from job to job
    configure_logs(settings.log)
    _analyser = Analyser(settings)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    """End this process when the node was killed; a pool alone would wait for work for ever."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def run_job(request: JobRequest) -> Outcome:
    """Measure one stack in a worker process and write its result objects, not yet synced."""
    if _analyser is None:
        raise RuntimeError("start_process was not called in this process")
    try:
        headers = tuple(read_header(path) for path in request.files.values())
        series = tuple(sorted({header.series_instance_uid for header in headers}))
        proposal = Proposal(series, request.pipeline, "", headers)
        analysis = _analyser.analyse(
            proposal,
            request.files,
            request.identity,
            require_coverage=request.require_coverage,
            study=request.study,
            standing=request.standing,
        )
    except Rejection as rejection:
        return Rejected(rejection.code, str(rejection))
    except NotYetCovered as early:
        return Deferred(str(early))
    results = []
    for item in analysis.objects:
        path = request.output / f"{item.role}.dcm"
        item.dataset.save_as(path, enforce_file_format=True)
        results.append(
            ResultFile(
                item.role,
                path,
                item.sop_instance_uid,
                item.sop_class_uid,
                item.series_instance_uid,
            )
        )
    return Completed(tuple(results), analysis.findings.model_dump_json())
