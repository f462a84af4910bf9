"""Cine and late enhancement of one synthetic study, and what the node found in both."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydicom import dcmread

from dicom_node.phantom_lge import write_lge_study
from dicom_node.status import NodeStatus
from pipeline.findings import SeriesFindings
from storage.states import StackState
from tests.acceptance.node import routed
from tests.acceptance.studies import Study, small_study

LGE_FORM = {"rows": 176, "columns": 176, "pixel_spacing_mm": (1.8, 1.8)}


@dataclass(frozen=True, slots=True)
class Both:
    """A cine, the files of its late enhancement, base to apex, and the truth of the latter."""

    cine: Study
    lge: tuple[Path, ...]
    truth: dict[str, Any]


def both(
    folder: Path,
    seed: int,
    *,
    scar: bool = True,
    cine_form: Mapping[str, object] | None = None,
    lge_form: Mapping[str, object] = LGE_FORM,
) -> Both:
    """Write both of one heart, in the folders `cine` and `lge`."""
    cine = small_study(folder / "cine", seed, **(cine_form or {}))
    header = dcmread(cine.files[0], stop_before_pixels=True)
    same = {name: header[name].value for name in ("StudyInstanceUID", "FrameOfReferenceUID")}
    truth = write_lge_study(folder / "lge", seed, header=same, scar=scar, **lge_form)  # type: ignore[arg-type]
    return Both(cine, tuple(sorted((folder / "lge").glob("*.dcm"))), json.loads(truth.read_text()))


def joined_findings(status: NodeStatus, study_instance_uid: str) -> dict[str, SeriesFindings]:
    """Findings by pipeline, once all results are delivered and joined; else none."""
    stacks = routed(status, study_instance_uid)
    found = {one.findings.pipeline: one.findings for one in stacks if one.findings is not None}
    settled = all(one.state is StackState.COMPLETED for one in stacks)
    joined = set(found) != {"cine", "lge"} or found["lge"].joined_report_uid == uid_of_report(
        found["cine"]
    )
    is_settled = settled and joined and not any(box.pending for box in status.outbox)
    return found if is_settled else {}


def uid_of_report(found: SeriesFindings) -> str:
    """SOP Instance UID of the report."""
    return next(one.sop_instance_uid for one in found.objects if one.role == "sr")
