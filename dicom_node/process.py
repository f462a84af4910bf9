"""`dicom-node process`: the node's routing, pipelines and writers on files, without a network."""

import contextlib
from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import structlog

from config.schema import Profile, Settings
from dicom_node.explanation import draw_slices
from dicom_node.files import printable_name, walk
from pipeline.analysis import Analyser, ResultIdentity, left_alone, rejected
from pipeline.errors import Rejection
from pipeline.findings import Findings, SeriesFindings, write_findings
from pipeline.headers import InstanceHeader, read_header
from pipeline.pictures import PICTURE_PIPELINES
from pipeline.results.profiles import is_wanted
from pipeline.routing import Proposal, propose

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Inputs:
    """DICOM instances found in files: header and file per SOP Instance UID, and files left out."""

    headers: tuple[InstanceHeader, ...]
    files: dict[str, Path]
    left_out: tuple[str, ...]


def process_files(
    paths: Iterable[Path],
    output: Path,
    settings: Settings,
    profiles: Collection[Profile] = (),
    *,
    explain: bool = False,
) -> Findings:
    """Measure every stack found in files and write objects and `findings.json`.

    Parameters
    ----------
    paths : iterable of Path
        Files and folders (searched in depth).
    output : Path
        Folder for the result objects and `findings.json`; made when absent.
    settings : Settings
        Routes, pipelines, worker and site are used.
    profiles : collection of Profile, optional
        What to write; without it what the destinations of the settings get.
    explain : bool
        Draw for each stack what spoke for its slices, as `stack-N-slices.png`.

    Returns
    -------
    Findings
        What was written to `findings.json`.
    """
    inputs = read_inputs(paths)
    output.mkdir(parents=True, exist_ok=True)
    analyser = Analyser(settings, profiles)
    numbered = [*enumerate(propose(inputs.headers, settings.active_routes), start=1)]
    found: dict[int, SeriesFindings] = {}
    of_patients: defaultdict[tuple[str, str], list[SeriesFindings]] = defaultdict(list)
    # Late enhancement last: its report takes in what was found in the cine of the study.
    for number, proposal in sorted(numbered, key=lambda item: item[1].pipeline == "lge"):
        study = of_patients[proposal.headers[0].study_instance_uid, proposal.headers[0].patient_id]
        found[number] = _process_stack(
            number, proposal, inputs.files, output, analyser, study=study
        )
        study.append(found[number])
        if explain and proposal.pipeline not in (None, *PICTURE_PIPELINES):
            _explain(proposal, inputs.files, analyser, output / f"stack-{number}-slices.png")
    series = (found[number].with_saved_objects() for number, _ in numbered)
    findings = Findings.of(series, files_left_out=inputs.left_out)
    write_findings(output / "findings.json", findings)
    return findings


def read_inputs(paths: Iterable[Path]) -> Inputs:
    """Read the header of every DICOM file below `paths`; the first of equal UIDs counts."""
    headers: list[InstanceHeader] = []
    files: dict[str, Path] = {}
    left_out: list[str] = []
    for path in walk(paths):
        try:
            header = read_header(path)
        except Rejection as rejection:
            left_out.append(f"{printable_name(path)}: {rejection.reason}")
            log.warning("file left out", file=printable_name(path), reason=rejection.reason)
            continue
        if header.sop_instance_uid in files:
            left_out.append(
                f"{printable_name(path)}: its SOP Instance UID was read from another file already"
            )
            continue
        files[header.sop_instance_uid] = path
        headers.append(header)
    return Inputs(tuple(headers), files, tuple(left_out))


def _process_stack(
    number: int,
    proposal: Proposal,
    files: dict[str, Path],
    output: Path,
    analyser: Analyser,
    *,
    study: Sequence[SeriesFindings],
) -> SeriesFindings:
    """Measure one stack and write its objects; `study` is what was found of it so far."""
    if proposal.pipeline is None:
        return left_alone(proposal)
    identity = ResultIdentity(proposal.series_instance_uids[0], 1, datetime.now(UTC))
    try:
        analysis = analyser.analyse(proposal, files, identity, study=study)
    except Rejection as rejection:
        log.warning("stack rejected", pipeline=proposal.pipeline, reason=str(rejection))
        return rejected(proposal, rejection)
    names = [
        f"stack-{number}-{item.role}.dcm" if is_wanted(item.role, analyser.profiles) else None
        for item in analysis.objects
    ]
    for item, name in zip(analysis.objects, names, strict=True):
        if name is not None:
            item.dataset.save_as(output / name, enforce_file_format=True)
    return analysis.findings.with_paths(names)


def _explain(proposal: Proposal, files: dict[str, Path], analyser: Analyser, picture: Path) -> None:
    """Draw what spoke for the slices of a stack, also of one that was rejected afterwards."""
    with contextlib.suppress(Rejection):  # said already: the images make no stack
        explanation = analyser.explain(proposal, files)
        if explanation is None:
            reason = "the localiser tells its slices; slice_classifier names no network"
            log.warning("no picture of the slices", pipeline=proposal.pipeline, reason=reason)
            return
        draw_slices(explanation, picture)
