"""From DICOM files through routing and assembly to biomarkers, given the true masks.

What is left to go wrong is geometry: spacing, gaps, order, orientation, and the facts of the
patient.
"""

import json
from dataclasses import replace

import numpy as np
import pytest

from config.schema import CINE_ROUTE, CineSettings
from dicom_node.phantom import write_cine_study
from pipeline.assemble import assemble
from pipeline.headers import read_header
from pipeline.routing import propose
from tests.unit.pipeline.cine_cases import oracle_pipeline, shown

FORMS = {
    "classic": {},
    "enhanced": {"enhanced": True},
    "one series per slice": {"series_per_slice": True},
    "non-square pixels": {"pixel_spacing_mm": (1.3, 2.0), "rows": 192, "columns": 128},
    "slice gaps": {"slice_spacing_mm": 10.0, "slice_thickness_mm": 6.0},
    "apex first": {"apex_first": True},
    "mirrored": {"mirrored": True},
    "ED last": {"ed_phase": 7, "rr_jitter": 0.05},
    "axial": {"orientation": (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)},
    "two phases": {"phases": 2},
}


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
def test_given_its_true_masks_a_synthetic_study_is_measured_to_3_percent(tmp_path, form):
    size = {"phases": 8, "rows": 128, "columns": 128, "pixel_spacing_mm": (2.0, 2.0)}
    written = write_cine_study(tmp_path, 6, **size | form)
    truth = json.loads(written.read_text())
    files = {read_header(path).sop_instance_uid: path for path in tmp_path.glob("*.dcm")}
    (proposal,) = propose([read_header(path) for path in files.values()], (CINE_ROUTE,))
    stack = assemble(proposal, files, CineSettings())
    labels = np.load(tmp_path / "truth_labels.npz")["labels"]
    case = oracle_pipeline().run(replace(stack, frames=shown(labels)))

    assert (case.phases.ed, case.phases.es) == (truth["ed"], truth["es"])
    measured = {one.name: one.value for one in case.biomarkers}
    for name, expected in truth["analytic"].items():
        assert measured[name] == pytest.approx(expected, rel=0.03), name
    for name in ("heart_rate", "bsa", "cardiac_output"):
        assert measured[name] == pytest.approx(truth["biomarkers"][name], rel=0.03), name
