"""From late enhancement files through routing, choice and assembly to SEG and report.

The networks are replaced by the true masks of the synthetic heart; what is left to go wrong is
which image counts, geometry, the thresholds, and what is written.
"""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from pydicom import dcmread

from config.schema import CINE_ROUTE, LGE_ROUTE, CineSettings
from dicom_node.phantom import write_cine_study
from dicom_node.phantom_lge import write_lge_study
from pipeline.assemble import assemble, assemble_lge
from pipeline.case import LV_CAVITY, LV_MYOCARDIUM, NO_REFLOW, SCAR
from pipeline.companion import companion_of
from pipeline.headers import InstanceHeader, read_header
from pipeline.lge_case import LgeCase
from pipeline.results import write_results
from pipeline.routing import Proposal, propose
from pipeline.stated import completed_findings
from tests.unit.pipeline.cine_cases import oracle_pipeline, shown
from tests.unit.pipeline.lge_cases import lge_pipeline
from tests.unit.pipeline.result_cases import CONTEXT, conformance_errors, saved, tool_output

ROUTES = (CINE_ROUTE, LGE_ROUTE)
FORMS = {
    "classic": {},
    "averages": {"averages": 3},
    "doubled slices": {"doubled_slices": True},
    "PSIR beside magnitude": {"psir": True, "averages": 2, "doubled_slices": True},
    "Enhanced PSIR": {"enhanced": True, "psir": True},
    "one series per slice": {"series_per_slice": True},
    "no description": {"header": {"SeriesDescription": "", "ProtocolName": ""}},
    "apex first, mirrored": {"apex_first": True, "mirrored": True},
    "non-square pixels": {"pixel_spacing_mm": (1.2, 1.6), "rows": 256, "columns": 192},
}
CLASSES = {LV_CAVITY: 1, LV_MYOCARDIUM: 2, SCAR: 3, NO_REFLOW: 4}


def found_in(folder: Path) -> tuple[list[InstanceHeader], dict[str, Path]]:
    files = {read_header(path).sop_instance_uid: path for path in folder.glob("*.dcm")}
    return [read_header(path) for path in files.values()], files


def true_classes(folder: Path) -> np.ndarray:
    labels = np.load(folder / "truth_labels.npz")["labels"]
    lookup = np.zeros(256, np.uint8)
    for code, number in CLASSES.items():
        lookup[code] = number
    return lookup[labels]


def the_lge(headers: list[InstanceHeader]) -> Proposal:
    (proposal,) = [one for one in propose(headers, ROUTES) if one.pipeline is not None]
    assert proposal.pipeline == "lge"
    return proposal


def measured(folder: Path, **form: object) -> tuple[LgeCase, dict[str, object]]:
    truth = json.loads(write_lge_study(folder, 6, **form).read_text())
    headers, files = found_in(folder)
    stack = assemble_lge(the_lge(headers), files)
    return lge_pipeline(true_classes(folder)).run(stack), truth


def value(case: LgeCase, name: str) -> float:
    (found,) = [one.value for one in case.biomarkers if one.name == name]
    assert found is not None
    return found


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
def test_given_its_true_masks_a_synthetic_scar_is_measured_to_10_percent(tmp_path, form):
    case, truth = measured(tmp_path, **form)
    expected = truth["biomarkers"]
    assert value(case, "lge_lv_mass") == pytest.approx(expected["lge_lv_mass"], rel=0.01)
    assert value(case, "scar_mass_network") == pytest.approx(expected["scar_mass"], rel=0.01)
    # At the noise of patients 5 SD lies above half of the scar's contrast, 2 SD below.
    for method, tolerance in (("fwhm", 0.1), ("5sd", 0.14), ("2sd", 0.16)):
        found = value(case, f"scar_mass_{method}")
        assert found == pytest.approx(expected["scar_mass"], rel=tolerance), method
    used = {cell.sop_instance_uid for cell in case.stack.sources[0]}
    left_out = {one.sop_instance_uid for one in case.stack.left_out}
    replaced = {uid for z in truth["slices"] for uid in z["replaced_sop_instance_uids"]}
    assert replaced <= left_out
    assert case.stack.phase_sensitive == form.get("psir", False)
    assert used <= {uid for z in truth["slices"] for uid in z["sop_instance_uids"]}
    assert len(used) == (1 if form.get("enhanced") else len(truth["slices"]))


@pytest.mark.parametrize("form", [{}, {"psir": True}, {"enhanced": True}, {"scar": False}])
def test_objects_of_a_synthetic_study_conform(tmp_path, form):
    case, _ = measured(tmp_path / "study", **form)
    objects = write_results(case, CONTEXT)
    for item in objects:
        assert conformance_errors(item, tmp_path) == []
    dump = tool_output("dsrdump", saved(objects[-1], tmp_path))
    assert any("Scar Mass (FWHM)" in line for line in dump)
    assert ("Scar" in objects[0].segments) == form.get("scar", True)
    assert any("No scar found" in line for line in dump) != form.get("scar", True)


def test_segments_of_a_joined_study_are_those_of_the_scar(tmp_path):
    cine, lge = tmp_path / "cine", tmp_path / "lge"
    write_cine_study(cine, 6, phases=8)
    first = dcmread(next(iter(sorted(cine.glob("*.dcm")))), stop_before_pixels=True)
    same = {name: first[name].value for name in ("StudyInstanceUID", "FrameOfReferenceUID")}
    truth = json.loads(write_lge_study(lge, 6, header=same).read_text())
    headers, files = found_in(cine)
    late, late_files = found_in(lge)
    proposals = {one.pipeline: one for one in propose([*headers, *late], ROUTES)}
    assert set(proposals) == {"cine", "lge"}

    stack = assemble(proposals["cine"], files, CineSettings())
    labels = np.load(cine / "truth_labels.npz")["labels"]
    beside = oracle_pipeline().run(replace(stack, frames=shown(labels)))
    findings = completed_findings(
        beside, write_results(beside, CONTEXT), pipeline="cine", numeric_backend="test"
    )
    case = lge_pipeline(true_classes(lge)).run(
        assemble_lge(proposals["lge"], late_files), companion_of([findings])
    )
    for segment, share in truth["transmurality"].items():
        assert value(case, f"transmurality_{segment}") == pytest.approx(100 * share, abs=15), (
            segment
        )
