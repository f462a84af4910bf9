"""The table that the demonstration ends with."""

import io
import json
from dataclasses import replace

from rich.console import Console

from dicom_node.demo import read_truth, result_table
from dicom_node.phantom import write_cine_study
from pipeline.case import QualityFinding, Verdict
from pipeline.stages.curve import PEAK_RATES
from pipeline.stated import completed_findings
from tests.unit.pipeline.result_cases import VALUES, make_case


def shown(truth=None, quality=()):
    """Cells of each row by the name of the biomarker; the heading under an empty name."""
    case = replace(make_case(withheld={"bsa": "no height"}), quality=quality)
    findings = completed_findings(case, (), pipeline="cine", numeric_backend="test")
    console = Console(width=200, file=io.StringIO())
    console.print(result_table(findings, truth))
    lines = console.file.getvalue().replace("┃", "│").splitlines()
    rows = [[cell.strip() for cell in line.strip("│").split("│")] for line in lines if "│" in line]
    return {row[0]: row[1:] for row in rows}


def test_the_truth_of_a_synthetic_study_stands_beside_what_was_measured(tmp_path):
    size = {"rows": 88, "columns": 88, "pixel_spacing_mm": (2.4, 2.4), "phases": 6, "slices": 10}
    path = write_cine_study(tmp_path, 5, **size)
    truth = read_truth(path)
    table = shown(truth)
    assert table["biomarker"][:2] == ["value", "true (synthetic)"]
    assert table["lv_peak_filling_rate"][1] == ""  # the drawing states none
    for name in VALUES.keys() - PEAK_RATES:
        unit = VALUES[name][1]
        digits = 2 if unit in ("l/min", "m2", "l/min/m2") else 1
        expected = json.loads(path.read_text())["biomarkers"][name]
        assert table[name][1] == f"{expected:.{digits}f}"


def test_numbers_are_those_of_the_report():
    table = shown()
    assert table["biomarker"] == ["value", "unit", "remark"]
    assert table["lv_edv"] == ["151.2", "ml", ""]
    assert table["cardiac_output"] == ["5.50", "l/min", ""]
    assert table["bsa"] == ["", "m2", "no height"]


def test_what_is_to_be_reviewed_is_marked():
    known = QualityFinding("rv_known_error", Verdict.REVIEW, "known", concerns=("rv_esv", "bsa"))
    passed = QualityFinding("lv_known_error", Verdict.OK, "known", concerns=("lv_esv",))
    table = shown(quality=(known, passed))
    assert table["rv_esv"][-1] == "to be reviewed"
    assert table["bsa"][-1] == "no height"
    assert table["lv_esv"][-1] == ""
