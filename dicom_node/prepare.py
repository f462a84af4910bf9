"""`dicom-node prepare`: the institution's own studies and reported volumes, made ready to train on.

The CSV has one row per study and these columns, in any order:

- ``study``: the Study Instance UID, or the folder of the study, relative to the CSV;
- ``lv_edv_ml``, ``lv_esv_ml``: reported LV volumes at end diastole and end systole, in ml;
- ``rv_edv_ml``, ``rv_esv_ml`` (optional): those of the RV;
- ``part`` (optional): ``train``, ``validation`` or ``test``. Without it the patient decides, by a
  hash: seven patients in ten train, one validates, two test.

Each study is routed and assembled as in the node, its ED and ES are found by the node's chain, and
images and volumes go to one array file that names nobody (`models.training.studies`).
"""

import csv
import hashlib
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import get_args

import numpy as np

from config.errors import PermanentError
from config.schema import Settings
from dicom_node.process import Inputs, read_inputs
from models.split import Part, never_fitted
from models.training.studies import MeasuredStudy, path_of, write_study
from pipeline.assemble import assemble
from pipeline.case import CineCase, CineStack
from pipeline.cine import build_cine_pipeline
from pipeline.errors import Rejection
from pipeline.headers import InstanceHeader
from pipeline.routing import Proposal, propose
from pipeline.stages import Stage

NEEDED = ("study", "lv_edv_ml", "lv_esv_ml")
OPTIONAL_VOLUMES = ("rv_edv_ml", "rv_esv_ml")
VOLUME_RANGE_ML = (2.0, 1000.0)


class InvalidTable(PermanentError):  # noqa: N818 - what it says, not that it is an error
    """A CSV of volumes that cannot be read, or a row of it that is of no use."""


@dataclass(frozen=True, slots=True)
class ReportedStudy:
    """A row of the CSV: which study, what was reported of it, and its part where stated."""

    study: str
    volumes_ml: Mapping[str, float]
    part: Part | None


def prepare_studies(
    paths: Sequence[Path],
    table: Path,
    data: Path,
    settings: Settings,
    say: Callable[[str], None] = print,
) -> Counter[str]:
    """Write every usable study of a CSV below the data folder.

    Parameters
    ----------
    paths : sequence of Path
        Folders and files of the studies.
    table : Path
        The CSV; see this module.
    data : Path
        Data folder of training; the studies go to `studies` in it.
    settings : Settings
        Routes, cine pipeline and worker are used.
    say : callable
        Told each row when it is done, with the reason where its study cannot be used. Rows are
        named by their line in the CSV, never by patient or folder.

    Returns
    -------
    Counter
        Studies written, by part.

    Raises
    ------
    InvalidTable
        The CSV as a whole cannot be used.
    """
    rows = read_table(table)
    inputs = read_inputs(paths)
    chain = build_cine_pipeline(settings.pipelines.cine, settings.worker)
    needed = ("relevance", "segmentation", "detection")
    stages = tuple(stage for stage in chain.stages if stage.name in needed)
    parts: dict[str, Part] = {}
    written: Counter[str] = Counter()
    for line, cells in rows:
        try:
            reported = read_row(cells)
            chosen = _headers_of(reported.study, table.parent, inputs)
            part = _part(reported, chosen[0], parts)
            cine = _the_cine(chosen, settings)
            stack = assemble(cine, inputs.files, settings.pipelines.cine)
            study = replace(measured(stack, stages), volumes_ml=reported.volumes_ml)
            write_study(path_of(data, part, _key(chosen[0])), study)
        except (InvalidTable, Rejection, OSError) as error:
            say(f"line {line}: left out: {error}")
            continue
        written[part] += 1
        say(f"line {line}: {part}")
    return written


def read_table(table: Path) -> list[tuple[int, dict[str, str]]]:
    """Rows of the CSV with the lines they stand on.

    Raises
    ------
    InvalidTable
        It cannot be read, or lacks a column that is needed.
    """
    try:
        with table.open(encoding="utf-8-sig", newline="") as stream:
            reader = csv.DictReader(stream)
            missing = [name for name in NEEDED if name not in (reader.fieldnames or ())]
            if missing:
                raise InvalidTable(f"{table.name} has no column {', '.join(missing)}")
            return [(reader.line_num, row) for row in reader]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InvalidTable(f"{table.name} cannot be read: {error}") from error


def read_row(cells: Mapping[str, str | None]) -> ReportedStudy:
    """Check a row of the CSV.

    Raises
    ------
    InvalidTable
        A cell is empty or is not what its column asks for.
    """
    given = {key: (value or "").strip() for key, value in cells.items() if isinstance(key, str)}
    if not given["study"]:
        raise InvalidTable("'study' is empty")
    part = given.get("part", "")
    if part and part not in get_args(Part):
        raise InvalidTable(f"'part' is none of {', '.join(get_args(Part))}")
    needed = [
        name for name in (*NEEDED[1:], *OPTIONAL_VOLUMES) if name in NEEDED or given.get(name)
    ]
    volumes = {name: _millilitres(name, given[name]) for name in needed}
    for side in ("lv", "rv"):
        edv, esv = (volumes.get(f"{side}_{name}_ml") for name in ("edv", "esv"))
        if edv is not None and esv is not None and esv >= edv:
            raise InvalidTable(f"'{side}_esv_ml' is not below '{side}_edv_ml'")
    return ReportedStudy(given["study"], volumes, part or None)  # type: ignore[arg-type]


def _millilitres(name: str, text: str) -> float:
    low, high = VOLUME_RANGE_ML
    try:
        value = float(text)
    except ValueError as error:
        raise InvalidTable(f"'{name}' is not a number") from error
    if not low <= value <= high:
        raise InvalidTable(f"'{name}' is {value:g}; {low:g} to {high:g} ml are plausible")
    return value


def _headers_of(study: str, folder: Path, inputs: Inputs) -> list[InstanceHeader]:
    """Instances of a study, by its UID or its folder."""
    chosen = [header for header in inputs.headers if header.study_instance_uid == study]
    if not chosen:
        root = (folder / study).resolve()
        chosen = [
            header
            for header in inputs.headers
            if inputs.files[header.sop_instance_uid].resolve().is_relative_to(root)
        ]
    if not chosen:
        raise InvalidTable("no DICOM instance of this study was found")
    if len({header.study_instance_uid for header in chosen}) > 1:
        raise InvalidTable("its folder holds more than one study")
    return chosen


def _part(reported: ReportedStudy, header: InstanceHeader, parts: dict[str, Part]) -> Part:
    """Part of the study; one patient is never on two sides, whatever the CSV says."""
    patient = header.patient_id or header.study_instance_uid
    if patient in never_fitted():
        return "test"
    tenth = int(hashlib.sha256(patient.encode()).hexdigest(), 16) % 10
    hashed: Part = "test" if tenth < 2 else "validation" if tenth < 3 else "train"
    part = parts.setdefault(patient, reported.part or hashed)
    if reported.part not in (None, part):
        raise InvalidTable(f"another study of its patient is in part '{part}'")
    return part


def _key(header: InstanceHeader) -> str:
    """Name of a study that tells nothing of the patient."""
    return hashlib.sha256(header.study_instance_uid.encode()).hexdigest()[:16]


def _the_cine(headers: Sequence[InstanceHeader], settings: Settings) -> Proposal:
    """The one cine stack of a study."""
    proposals = propose(headers, settings.active_routes)
    cines = [proposal for proposal in proposals if proposal.pipeline == "cine"]
    if len(cines) > 1:
        raise InvalidTable(f"it holds {len(cines)} short-axis cine stacks; one is needed")
    if not cines:
        reasons = sorted({proposal.reason for proposal in proposals})
        raise InvalidTable(f"it holds no short-axis cine stack: {'; '.join(reasons)}")
    return cines[0]


def measured(stack: CineStack, stages: Sequence[Stage]) -> MeasuredStudy:
    """ED and ES of a stack as training keeps them, volumes not yet filled in.

    Raises
    ------
    Rejection
        The stages reject the stack.
    """
    case = CineCase(stack)
    for stage in stages:
        case = stage(case)
    if case.relevance is None or case.phases is None:
        raise ValueError("relevance and detection are needed")
    pair = stack.frames[[case.phases.ed, case.phases.es]]
    low, high = np.percentile(pair, [0.05, 99.95])
    scaled = (pair - low) * (255 / max(float(high - low), 1e-6))
    return MeasuredStudy(
        images=np.clip(np.rint(scaled), 0, 255).astype(np.uint8),
        pixel_spacing_mm=stack.pixel_spacing_mm,
        slice_spacing_mm=stack.slice_spacing_mm,
        centre_yx=case.relevance.centre_yx,
        volumes_ml={},
    )
