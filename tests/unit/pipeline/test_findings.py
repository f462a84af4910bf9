"""The findings.json contract."""

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from pydantic import ValidationError

from config.version import SOFTWARE_VERSION
from pipeline.case import Biomarker, QualityFinding, Verdict
from pipeline.findings import (
    BiomarkerFinding,
    Findings,
    SeriesFindings,
    findings_schema,
    write_findings,
)
from pipeline.results import write_results
from pipeline.results.codes import QUANTITIES, UNITS
from pipeline.results.source import tolerant_headers
from pipeline.stated import completed_findings, uncompleted_findings
from tests.unit.pipeline.cine_cases import drawn_case
from tests.unit.pipeline.lge_cases import lge_case
from tests.unit.pipeline.result_cases import (
    CONTEXT,
    ED,
    PHASES,
    SERIES,
    SLICES,
    STUDY,
    VALUES,
    make_case,
    series_per_slice,
)

DEPLOY = Path(__file__).parents[3] / "deploy"


def completed(case=None, objects=()):
    case = case or make_case()
    return completed_findings(case, objects, pipeline="cine", numeric_backend="test-fp32")


def left_alone(status="unrouted", code=None):
    proposal = SimpleNamespace(
        series_instance_uids=("1.2.3.5.1",),
        pipeline=None if status == "unrouted" else "cine",
        headers=(SimpleNamespace(study_instance_uid=STUDY),),
    )
    return uncompleted_findings(proposal, status=status, code=code, reason="one slice only")


def as_json(findings, folder):
    path = folder / "findings.json"
    write_findings(path, findings)
    return json.loads(path.read_text(encoding="utf-8"))


def test_a_completed_stack_has_every_field_of_the_contract(tmp_path):
    case = make_case(withheld={"bsa": "no height"})
    objects = write_results(case, CONTEXT)
    entry = as_json(Findings.of([completed(case, objects)]), tmp_path)["series"][0]
    assert entry["series_instance_uids"] == [SERIES]
    assert entry["study_instance_uid"] == STUDY
    assert (entry["pipeline"], entry["status"], entry["reason"], entry["code"]) == (
        "cine",
        "completed",
        None,
        None,
    )
    assert entry["phases"] == {
        "ed": {"index": 4, "trigger_time_ms": 172.5},
        "es": {"index": 1, "trigger_time_ms": 52.5},
    }
    assert entry["volume_curve_ml"]["lv"] == np.linspace(60, 150, PHASES).tolist()
    assert entry["volume_curve_ml"]["rv"] == np.linspace(70, 160, PHASES).tolist()
    biomarkers = {b["name"]: (b["value"], b["unit"], b["withheld"]) for b in entry["biomarkers"]}
    assert biomarkers == {
        **{name: (value, unit, None) for name, (value, unit) in VALUES.items()},
        "bsa": (None, "m2", "no height"),
    }
    assert entry["quality"][1] == {
        "check": "coverage_base",
        "verdict": "review",
        "reason": "the stack may stop inside the LV",
        "value": None,
        "biomarkers": [],
    }


def test_a_number_stands_beside_its_normal_range_or_the_reason_why_not(tmp_path):
    entry = as_json(Findings.of([completed()]), tmp_path)["series"][0]
    beside = {one["name"]: one for one in entry["biomarkers"]}
    assert beside["lv_ef"]["normal_range"] == {
        "lower": 51.0,
        "upper": 71.0,
        "people": "healthy women of 45 to 74 years",
        "papillary_muscles": "in cavity",
        "authority": "Petersen 2017, JCMR 19:18",
    }
    assert (beside["lv_ef"]["flag"], beside["lv_ef"]["unjudged"]) == ("normal", None)
    assert (beside["rv_ef"]["normal_range"], beside["rv_ef"]["flag"]) == (None, None)
    assert beside["rv_ef"]["unjudged"] == "no normal range is known to the product"


def test_a_check_names_the_biomarkers_it_is_about():
    withheld = QualityFinding("mass_plausibility", Verdict.WITHHELD, "", withholds=("lv_mass",))
    review = QualityFinding("rv_known_error", Verdict.REVIEW, "", concerns=("rv_esv", "rv_ef"))
    found = completed(replace(make_case(), quality=(withheld, review)))
    assert [check.biomarkers for check in found.quality] == [("lv_mass",), ("rv_esv", "rv_ef")]


def test_slices_name_their_source_instances_in_the_order_of_phases():
    case = make_case(holes=frozenset({(2, 3)}))
    slices = completed(case).slices
    assert len(slices) == SLICES
    assert [entry.relevant for entry in slices] == [False, True, True, True, True, False]
    assert [entry.probability for entry in slices] == [0.1, 0.9, 0.9, 0.9, 0.9, 0.1]
    assert slices[0].sop_instance_uids == tuple(f"{SERIES}.{t}.0" for t in range(PHASES))
    assert slices[3].sop_instance_uids == tuple(f"{SERIES}.{t}.3" for t in (0, 1, 3, 4))


def test_an_enhanced_instance_is_named_once_per_slice():
    assert completed(make_case(enhanced=True)).slices[2].sop_instance_uids == (f"{STUDY}.7",)


def test_a_split_stack_names_all_its_series():
    found = completed(make_case(series_of=series_per_slice))
    assert found.series_instance_uids == tuple(series_per_slice(z) for z in range(SLICES))


def test_provenance_says_what_took_part():
    provenance = completed().provenance
    assert [(m.name, m.version, m.licence) for m in provenance.models] == [
        ("heart_localiser", "1.0.0", "CC BY-NC-SA 4.0"),
        ("cine_unet", "2.1.0", "CC BY-NC-SA 4.0"),
    ]
    assert provenance.models[1].weights_sha256 == "b" * 64
    assert provenance.seconds == {"relevance": 0.5, "segmentation": 1.5, "biomarkers": 0.1}
    assert (provenance.device, provenance.numeric_backend) == ("cpu", "test-fp32")
    assert provenance.versions["dicom-node"] == SOFTWARE_VERSION
    assert {"python", "torch", "pydicom", "highdicom", "numpy"} <= provenance.versions.keys()


def test_objects_are_listed_with_their_paths():
    case = make_case()
    objects = write_results(case, CONTEXT)
    found = completed(case, objects)
    assert {item.path for item in found.objects} == {None}
    placed = found.with_paths([f"{item.role}.dcm" for item in objects])
    assert [(o.path, o.role, o.sop_class_uid, o.sop_instance_uid) for o in placed.objects] == [
        (f"{i.role}.dcm", i.role, i.sop_class_uid, i.sop_instance_uid) for i in objects
    ]
    assert placed.objects[0].segments == ("LV cavity", "LV myocardium", "RV cavity")
    assert placed.objects[-1].segments == ()
    with pytest.raises(ValueError, match="shorter"):
        found.with_paths(["one.dcm"])


def test_what_the_source_headers_lack_is_noted_without_a_verdict():
    with tolerant_headers():
        case = make_case(header={"StudyDate": "20120000"})
    check = completed(case).quality[-1]
    assert (check.check, check.verdict) == ("source_headers", Verdict.OK)
    assert "StudyDate" in check.reason
    assert "2012" not in check.reason
    assert "source_headers" not in {check.check for check in completed().quality}


def test_a_series_that_was_not_measured_says_why(tmp_path):
    entry = as_json(Findings.of([left_alone("rejected", "mixed_orientation")]), tmp_path)
    (series,) = entry["series"]
    assert (series["status"], series["code"]) == ("rejected", "mixed_orientation")
    assert series["reason"] == "one slice only"
    assert series["phases"] is series["volume_curve_ml"] is series["provenance"] is None
    assert series["biomarkers"] == series["slices"] == series["quality"] == series["objects"] == []


def test_the_one_completed_stack_stands_at_the_top_level_too(tmp_path):
    found = as_json(Findings.of([left_alone(), completed()], ["a.txt: no DICOM"]), tmp_path)
    measured = found["series"][1]
    for name in ("phases", "volume_curve_ml", "slices", "biomarkers", "quality", "provenance"):
        assert found[name] == measured[name] != [], name
    assert found["files_left_out"] == ["a.txt: no DICOM"]
    assert found["schema_version"] == "1.4"
    assert found["software_version"] == SOFTWARE_VERSION


@pytest.mark.parametrize("stacks", [0, 2])
def test_none_or_several_completed_stacks_leave_the_top_level_empty(stacks, tmp_path):
    found = as_json(Findings.of([left_alone(), *[completed()] * stacks]), tmp_path)
    assert len(found["series"]) == stacks + 1
    assert found["phases"] is found["volume_curve_ml"] is found["provenance"] is None
    assert found["slices"] == found["biomarkers"] == found["quality"] == found["objects"] == []


def test_reads_back_as_it_was_written(tmp_path):
    findings = Findings.of([completed(), left_alone()])
    path = tmp_path / "findings.json"
    write_findings(path, findings)
    assert Findings.model_validate_json(path.read_bytes()) == findings
    entry = completed()
    assert SeriesFindings.model_validate_json(entry.model_dump_json()) == entry


@pytest.mark.parametrize(
    ("value", "withheld"),
    [(None, None), (1.0, "no height"), (None, ""), (float("nan"), None), (float("inf"), None)],
)
def test_a_biomarker_has_a_finite_value_or_a_reason(value, withheld):
    with pytest.raises(ValidationError):
        BiomarkerFinding(name="bsa", value=value, unit="m2", withheld=withheld, verdict="ok")


def test_each_biomarker_has_a_verdict_and_its_reasons():
    doubt = QualityFinding("doubt", Verdict.REVIEW, "seen twice", concerns=("lv_ef",))
    case = make_case()
    gone = Biomarker("lv_sv", None, "ml", "nothing was found")
    kept = tuple(one for one in case.biomarkers if one.name != "lv_sv")
    case = replace(case, quality=(doubt,), biomarkers=(gone, *kept))
    stated = {one.name: one for one in completed(case).biomarkers}
    assert (stated["lv_ef"].verdict, stated["lv_ef"].reasons) == ("review", ("seen twice",))
    assert (stated["lv_sv"].verdict, stated["lv_sv"].reasons) == ("withheld", (gone.withheld,))
    assert {stated[one.name].verdict for one in kept if one.name != "lv_ef"} == {"ok"}


def test_a_biomarker_name_stands_once():
    case = make_case()
    twice = replace(case, biomarkers=(*case.biomarkers, case.biomarkers[0]))
    with pytest.raises(ValidationError, match="once"):
        completed(twice)


def test_a_value_that_is_not_finite_is_refused():
    finding = QualityFinding("ef_range", Verdict.OK, "", value=float("nan"))
    with pytest.raises(ValidationError):
        completed(replace(make_case(), quality=(finding,)))


def test_findings_cannot_be_changed():
    with pytest.raises(ValidationError, match="frozen"):
        completed().status = "rejected"


def test_the_published_schema_is_current():
    published = (DEPLOY / "findings.schema.json").read_text(encoding="utf-8")
    assert published == findings_schema(), (
        "regenerate: python -c 'from pipeline.findings import findings_schema as s; print(s(),"
        ' end="")\' > deploy/findings.schema.json'
    )


def test_the_published_table_lists_every_biomarker_with_its_unit_and_code():
    text = (DEPLOY / "findings.md").read_text(encoding="utf-8")
    rows = [
        [cell.strip(" `") for cell in line.strip("|").split("|")]
        for line in text.splitlines()
        if line.startswith("| `")
    ]
    table = {row[0]: (row[2], row[3].split()[0]) for row in rows if row[0] in QUANTITIES}
    units = {name: unit for name, (_, unit) in VALUES.items()}
    units |= {one.name: one.unit for case in (lge_case(), drawn_case()) for one in case.biomarkers}
    assert {*units} == {*QUANTITIES} - {"age", "height", "weight"}  # stated in the report alone
    by_segment = {name.rpartition("_")[0] for name in units if name.endswith("_17")}
    for name in by_segment:
        assert text.count(f"`{name}_1` to `{name}_17`") == 1
    assert table == {
        name: (unit, QUANTITIES[name].code.value)
        for name, unit in units.items()
        if name.rpartition("_")[0] not in by_segment
    }
    assert {*units.values()} == set(UNITS) - {"a", "m", "kg"}


def test_ed_may_be_the_last_phase():
    assert completed().phases.ed.index == ED == PHASES - 1
