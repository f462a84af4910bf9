"""Cine and late enhancement of a study, pushed to the running node; results read from Orthanc.

One heart has a scar, and its late enhancement comes first; the other has none, and it comes last.
Both are synthetic: of patients no late enhancement is at hand as DICOM.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydicom import Dataset

from pipeline.findings import SeriesFindings
from pipeline.stages.scar_biomarkers import SCAR
from pipeline.stages.transmurality import TRANSMURALITY
from tests.acceptance.joined import both, joined_findings
from tests.acceptance.node import RunningNode, storescu
from tests.acceptance.studies import (
    SR,
    as_reported,
    of_class,
    reported,
    returned,
    sentences,
    values,
)
from tests.integration.peers import Orthanc, dcmtk
from tests.unit.pipeline.result_cases import errors_of_file

SCARRED, HEALTHY = 1, 2  # seeds
# Of the truth: what the outlines of a network may add to the 10 % of a method.
MASS_BOUNDS = {"network": 0.25, "2sd": 0.35, "5sd": 0.3, "fwhm": 0.25}
GRAMS_PER_ML = 1.055


@dataclass(frozen=True)
class Measured:
    """A study of both, its truth, what the node found, and what Orthanc has."""

    truth: dict[str, Any]
    cine: SeriesFindings
    lge: SeriesFindings
    objects: list[Dataset]

    def current(self, role: str) -> Dataset:
        """The object of late enhancement that its findings name."""
        (uid,) = [one.sop_instance_uid for one in self.lge.objects if one.role == role]
        (item,) = [one for one in self.objects if one.SOPInstanceUID == uid]
        return item


@pytest.fixture(scope="module")
def scarred(node: RunningNode, archive: Orthanc, tmp_path_factory: Any) -> Measured:
    return measured(node, archive, tmp_path_factory.mktemp("scarred"), ("lge", "cine"))


@pytest.fixture(scope="module")
def healthy(node: RunningNode, archive: Orthanc, tmp_path_factory: Any) -> Measured:
    return measured(node, archive, tmp_path_factory.mktemp("healthy"), ("cine", "lge"))


def measured(node: RunningNode, archive: Orthanc, folder: Path, order: tuple[str, str]) -> Measured:
    """Send cine and late enhancement, the second when results of the first have gone out."""
    scar = order[0] == "lge"
    study = both(folder, SCARRED if scar else HEALTHY, scar=scar)
    uid, files = study.cine.uid, {"cine": study.cine.files, "lge": study.lge}
    for count, pipeline in enumerate(order, start=1):
        storescu(files[pipeline], node.address)
        status = node.wait_for(lambda now, n=count: len(joined_findings(now, uid)) == n, 300)
    found = joined_findings(status, uid)
    return Measured(study.truth, found["cine"], found["lge"], returned(archive, uid))


@pytest.mark.parametrize("name", ["scarred", "healthy"])
def test_one_report_holds_both_whichever_came_last(
    name: str, request: pytest.FixtureRequest
) -> None:
    study: Measured = request.getfixturevalue(name)
    assert study.lge.joined_series_instance_uids == study.cine.series_instance_uids
    report = study.current("sr")
    assert reported(report) == as_reported(study.cine) | as_reported(study.lge)
    series = [
        item
        for item in of_class(study.objects, SR)
        if item.SeriesInstanceUID == report.SeriesInstanceUID
    ]
    assert series[-1].SOPInstanceUID == report.SOPInstanceUID
    assert len(series) == (2 if name == "scarred" else 1)  # the first had no cine to take in


def test_scar_is_that_of_the_heart(scarred: Measured) -> None:
    numbers, truth = values(scarred.lge), scarred.truth["biomarkers"]
    assert numbers["lge_lv_mass"] == pytest.approx(truth["lge_lv_mass"], rel=0.1)
    for method, bound in MASS_BOUNDS.items():
        found = numbers[f"scar_mass_{method}"]
        assert found == pytest.approx(truth["scar_mass"], rel=bound), method
    assert numbers["no_reflow_mass"] == pytest.approx(truth["no_reflow_mass"], abs=4)
    assert numbers["infarct_probability"] > 0.9
    assert "Infarct likely" in sentences(scarred.current("sr"))


def test_segments_of_the_wall_are_those_of_the_scar(scarred: Measured) -> None:
    numbers, truth = values(scarred.lge), scarred.truth["transmurality"]
    shares = {name: numbers[name] for name in TRANSMURALITY if name in numbers}
    assert set(shares) == set(TRANSMURALITY[:16])
    for segment, share in truth.items():
        found = shares[f"transmurality_{segment}"]
        assert found == pytest.approx(100 * share, abs=30), segment


def test_masks_hold_what_is_reported(scarred: Measured) -> None:
    seg = scarred.current("seg_lge")
    numbers = {item.SegmentNumber: item.SegmentLabel for item in seg.SegmentSequence}
    assert set(numbers.values()) == {"LV cavity", "LV myocardium", "Scar", "No-reflow"}
    voxels = dict.fromkeys(numbers.values(), 0)
    sources = set()
    for frame, groups in zip(seg.pixel_array, seg.PerFrameFunctionalGroupsSequence, strict=True):
        number = groups.SegmentIdentificationSequence[0].ReferencedSegmentNumber
        voxels[numbers[number]] += np.count_nonzero(frame)
        source = groups.DerivationImageSequence[0].SourceImageSequence[0]
        sources.add(source.ReferencedSOPInstanceUID)
    relevant = {
        uid for item in scarred.lge.slices if item.relevant for uid in item.sop_instance_uids
    }
    assert sources <= relevant
    measures = seg.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0]
    area_mm2 = np.prod([float(step) for step in measures.PixelSpacing])
    grams = area_mm2 * float(measures.SpacingBetweenSlices) / 1000 * GRAMS_PER_ML
    stated = values(scarred.lge)
    scar = voxels["Scar"] + voxels["No-reflow"]
    assert grams * scar == pytest.approx(stated["scar_mass_network"], rel=0.01)
    assert grams * voxels["No-reflow"] == pytest.approx(stated["no_reflow_mass"], rel=0.01)


def test_a_heart_without_scar_has_no_scar_segment_and_says_so(healthy: Measured) -> None:
    seg = healthy.current("seg_lge")
    assert {item.SegmentLabel for item in seg.SegmentSequence} == {"LV cavity", "LV myocardium"}
    text = sentences(healthy.current("sr"))
    assert "No scar found." in text
    assert "Infarct unlikely" in text
    numbers = values(healthy.lge)
    assert {numbers[name] for name in SCAR} == {0.0}
    assert numbers["infarct_probability"] < 0.1


@pytest.mark.parametrize("name", ["scarred", "healthy"])
def test_results_conform_and_can_be_read(
    name: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    for role in ("seg_lge", "sr"):
        item = request.getfixturevalue(name).current(role)
        path = tmp_path / f"{role}.dcm"
        item.save_as(path)
        assert errors_of_file(path) == [], role
    dump = dcmtk("dsrdump", tmp_path / "sr.dcm", check=False)
    assert dump.returncode == 0
    assert "Scar Mass (FWHM)" in dump.stdout
    assert not [line for line in dump.stderr.splitlines() if line.startswith(("E:", "F:"))]
