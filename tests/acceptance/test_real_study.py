"""Two real studies, pushed by DCMTK to the running node; their results read back from Orthanc."""

import csv
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from pydicom import Dataset, dcmread

from dicom_node.status import StackStatus
from pipeline.findings import SeriesFindings
from pipeline.results.common import DISCLAIMER
from pipeline.results.source import tolerant_headers
from pipeline.stages.detection import cyclic_distance
from tests.acceptance.node import RunningNode, storescu
from tests.acceptance.studies import (
    SEG,
    SR,
    as_reported,
    of_class,
    reported,
    returned,
    sentences,
)
from tests.integration.peers import Orthanc, dcmtk
from tests.unit.pipeline.result_cases import errors_of_file

PATIENTS = ("SCD0000101", "SCD0000201")
PHASES = 20
# dciodvfy objects wherever a source UID with a leading zero stands, and once more in sum.
INVALID_IN_SUM = "Error - Dicom dataset contains invalid data values for Value Representations"


@dataclass(frozen=True)
class Measured:
    """A real study, what the node found in it, and what Orthanc has of it."""

    source: dict[str, Dataset]
    truth: dict[str, str]
    stack: StackStatus
    objects: list[Dataset]

    @property
    def findings(self) -> SeriesFindings:
        assert self.stack.findings is not None
        return self.stack.findings

    @property
    def report(self) -> Dataset:
        (report,) = of_class(self.objects, SR)
        return report

    def seg(self, phase: str) -> Dataset:
        (seg,) = [
            item
            for item in of_class(self.objects, SEG)
            if item.ContentLabel == f"{phase}_SEGMENTATION"
        ]
        return seg


@pytest.fixture(scope="module", params=PATIENTS)
def measured(
    request: pytest.FixtureRequest, real_data: Path, node: RunningNode, archive: Orthanc
) -> Measured:
    """Send one study over one association and wait until its results are in the archive."""
    files = sorted((real_data / "sunnybrook" / "dicom" / request.param).glob("*.dcm"))
    with tolerant_headers():
        source = [dcmread(path, stop_before_pixels=True) for path in files]
    storescu(files, node.address)
    with (real_data / "sunnybrook" / "truth_from_contours.csv").open(newline="") as table:
        truth = {row["patient_id"]: row for row in csv.DictReader(table)}[request.param]
    study_uid = source[0].StudyInstanceUID
    stack = node.wait_settled(study_uid, timeout_s=300)
    return Measured(
        {str(item.SOPInstanceUID): item for item in source},
        truth,
        stack,
        returned(archive, study_uid),
    )


def test_every_image_was_used_and_three_objects_came_back(measured: Measured) -> None:
    assert measured.stack.instances == len(measured.source)
    assert len(of_class(measured.objects, SEG)) == 2
    assert len(of_class(measured.objects, SR)) == 1
    assert len(measured.objects) == 3


def test_numbers_agree_with_the_contours(measured: Measured) -> None:
    truth, numbers = measured.truth, reported(measured.report)
    assert numbers["lv_ef"] == pytest.approx(float(truth["ef_percent"]), abs=7)
    # Wider: which basal slices belong to the ventricle is a convention.
    assert numbers["lv_edv"] == pytest.approx(float(truth["edv_ml"]), rel=0.35)


@pytest.mark.parametrize("phase", ["ed", "es"])
def test_key_phases_agree_with_the_contours(measured: Measured, phase: str) -> None:
    phases = measured.findings.phases
    assert phases is not None
    expected = int(measured.truth[f"{phase}_phase_index_1based"]) - 1
    assert cyclic_distance(getattr(phases, phase).index, expected, PHASES) <= 2


def test_the_report_states_the_numbers_of_the_findings(measured: Measured) -> None:
    assert reported(measured.report) == as_reported(measured.findings)
    text = sentences(measured.report)
    withheld = [item for item in measured.findings.biomarkers if item.withheld]
    assert "bsa" in {item.name for item in withheld}  # these headers have no height
    for item in withheld:
        assert f"Not computed: {item.withheld}" in text


@pytest.mark.parametrize("phase", ["ED", "ES"])
def test_masks_name_the_images_they_were_drawn_on(measured: Measured, phase: str) -> None:
    phases = measured.findings.phases
    assert phases is not None
    index = getattr(phases, phase.lower()).index
    seg = measured.seg(phase)
    named = set()
    for frame in seg.PerFrameFunctionalGroupsSequence:
        (derivation,) = frame.DerivationImageSequence
        (reference,) = derivation.SourceImageSequence
        source = measured.source[reference.ReferencedSOPInstanceUID]
        # An accident of this set: InstanceNumber runs over phases, then slices.
        assert (int(source.InstanceNumber) - 1) % PHASES == index
        position = frame.PlanePositionSequence[0].ImagePositionPatient
        np.testing.assert_allclose(position, source.ImagePositionPatient, atol=1e-3)
        named.add(source.SOPInstanceUID)
    relevant = [item for item in measured.findings.slices if item.relevant]
    assert named <= {uid for item in relevant for uid in item.sop_instance_uids}
    assert len(named) >= 7
    assert (seg.Rows, seg.Columns) == (256, 256)


@pytest.mark.parametrize(("phase", "name"), [("ED", "lv_edv"), ("ES", "lv_esv")])
def test_masks_hold_the_volume_that_is_reported(measured: Measured, phase: str, name: str) -> None:
    seg = measured.seg(phase)
    (cavity,) = [
        item.SegmentNumber for item in seg.SegmentSequence if item.SegmentLabel == "LV cavity"
    ]
    numbers = np.array(
        [
            frame.SegmentIdentificationSequence[0].ReferencedSegmentNumber
            for frame in seg.PerFrameFunctionalGroupsSequence
        ]
    )
    voxels = np.count_nonzero(seg.pixel_array[numbers == cavity])
    truth = measured.truth
    voxel_ml = float(truth["pixel_mm"]) ** 2 * float(truth["slice_spacing_mm"]) / 1000
    assert reported(measured.report)[name] == pytest.approx(voxels * voxel_ml, rel=1e-3)


def test_results_lie_in_the_study_of_their_source(measured: Measured) -> None:
    source = next(iter(measured.source.values()))
    for item in measured.objects:
        assert item.StudyInstanceUID == source.StudyInstanceUID
        assert item.PatientID == source.PatientID
        assert item.SeriesInstanceUID != source.SeriesInstanceUID
        assert item.StudyDate == ""  # 20120000 of the source is no date


def test_results_say_what_they_are(measured: Measured) -> None:
    assert measured.report.VerificationFlag == "UNVERIFIED"
    text = sentences(measured.report)
    assert DISCLAIMER in text
    provenance = measured.findings.provenance
    assert provenance is not None
    for model in provenance.models:
        for fact in (model.name, model.version, model.weights_sha256, model.licence):
            assert fact in text
    for phase in ("ED", "ES"):
        assert measured.seg(phase).ContentDescription == DISCLAIMER


def test_results_conform(measured: Measured, tmp_path: Path) -> None:
    source_uids = " ".join(str(item) for item in measured.source.values())
    for item in measured.objects:
        path = tmp_path / f"{item.SOPInstanceUID}.dcm"
        with tolerant_headers():
            item.save_as(path)
        errors = [line for line in errors_of_file(path) if not _inherited(line, source_uids)]
        assert errors == [], item.SeriesDescription


def test_dcmtk_reads_the_report(measured: Measured, tmp_path: Path) -> None:
    path = tmp_path / "report.dcm"
    with tolerant_headers():
        measured.report.save_as(path)
    dump = dcmtk("dsrdump", path, check=False)
    assert dump.returncode == 0
    assert "Left ventricular ejection fraction by MR" in dump.stdout
    assert not [line for line in dump.stderr.splitlines() if line.startswith(("E:", "F:"))]


def _inherited(error: str, source_uids: str) -> bool:
    """Whether `dciodvfy` objects to a UID of the source, which results name as it stands."""
    if "Leading zeroes" in error:
        return error.split("<")[1].split(">", maxsplit=1)[0] in source_uids
    return error == INVALID_IN_SUM
