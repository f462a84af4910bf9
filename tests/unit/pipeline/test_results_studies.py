"""Results of whole studies, read from files as the node reads them: synthetic and real ones."""

from dataclasses import replace

import numpy as np
import pytest

from config.schema import CINE_ROUTE, CineSettings
from dicom_node.phantom import LABELS_NAME, write_cine_study
from pipeline.assemble import assemble
from pipeline.case import SEGMENT_LABELS, Phases, Relevance, Segmentation
from pipeline.headers import read_header
from pipeline.results import write_results
from pipeline.results.source import header_notes, tolerant_headers
from pipeline.routing import propose
from tests.unit.pipeline.result_cases import (
    conformance_errors,
    make_case,
    read,
    saved,
    tool_output,
    with_context,
)

FORMS = {
    "oblique with oblong pixels": {"pixel_spacing_mm": (2.6, 2.0), "rows": 88, "columns": 112},
    "slice gaps, mirrored": {"slice_spacing_mm": 12.0, "slices": 8, "mirrored": True},
    "series per slice": {"series_per_slice": True},
    "enhanced": {"enhanced": True},
    "enhanced, series per slice": {"enhanced": True, "series_per_slice": True},
    "undated": {"header": {"StudyDate": "20120000", "PatientBirthDate": "00000000"}},
}


def read_stack(files):
    headers = [read_header(path) for path in files]
    (proposal,) = propose(headers, (CINE_ROUTE,))
    by_uid = {header.sop_instance_uid: path for header, path in zip(headers, files, strict=True)}
    return assemble(proposal, by_uid, CineSettings())


def case_of(stack, labels, phases):
    """A finished case of true masks; numbers do not matter here."""
    relevant = tuple(labels.any(axis=(0, 2, 3)).tolist())
    return replace(
        make_case(),
        volume_curve_ml={"lv": np.linspace(60, 150, len(stack.frames))},
        stack=stack,
        relevance=Relevance(np.array(relevant, float), relevant, (1.0, 1.0)),
        phases=phases,
        segmentation=Segmentation(labels),
    )


def masks_by_source(item):
    """Mask [y, x] per source instance, frame and label, read without highdicom."""
    dataset = read(item)
    labels = {segment.SegmentNumber: segment.SegmentLabel for segment in dataset.SegmentSequence}
    pixels = dataset.pixel_array.reshape(-1, dataset.Rows, dataset.Columns)
    (shared,) = dataset.SharedFunctionalGroupsSequence
    for frame, mask in zip(dataset.PerFrameFunctionalGroupsSequence, pixels, strict=True):
        (source,) = frame.DerivationImageSequence[0].SourceImageSequence
        # With one segment only, all frames share its number.
        groups = frame if "SegmentIdentificationSequence" in frame else shared
        number = groups.SegmentIdentificationSequence[0].ReferencedSegmentNumber
        where = (source.ReferencedSOPInstanceUID, source.get("ReferencedFrameNumber"))
        yield (*where, labels[number]), mask > 0


def expected_masks(case, index):
    for z, source in enumerate(case.stack.sources[index]):
        for value, label in SEGMENT_LABELS.items():
            mask = case.segmentation.labels[index, z] == value
            if mask.any():
                yield (source.sop_instance_uid, source.frame_number, label), mask


def assert_voxels_are_where_they_were_drawn(case, items):
    for role, index in (("seg_ed", case.phases.ed), ("seg_es", case.phases.es)):
        expected = dict(expected_masks(case, index))
        found = {}
        for item in items:
            if item.role.startswith(role):
                found |= dict(masks_by_source(item))
        assert found.keys() == expected.keys()
        for where, mask in expected.items():
            np.testing.assert_array_equal(found[where], mask)


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
def test_results_of_a_synthetic_study(form, tmp_path):
    size = {"rows": 88, "columns": 88, "pixel_spacing_mm": (2.4, 2.4), "phases": 6, "slices": 10}
    study = tmp_path / "study"
    with tolerant_headers():
        write_cine_study(study, 5, **{**size, **form})
    stack = read_stack(sorted(study.glob("*.dcm")))
    with np.load(study / LABELS_NAME) as stored:
        labels = stored["labels"]
    case = case_of(stack, labels, Phases(0, 2))
    items = write_results(case, with_context(series_seed=stack.series_instance_uids[0]))
    assert_voxels_are_where_they_were_drawn(case, items)
    for item in items:
        assert conformance_errors(item, tmp_path) == [], item.role
    lines = tool_output("dsrdump", saved(items[-1], tmp_path))
    assert not [line for line in lines if line.startswith(("E:", "F:"))]


@pytest.mark.parametrize("patient", ["SCD0000101", "SCD0000201"])
def test_results_of_a_real_study(patient, real_data, tmp_path):
    stack = read_stack(sorted((real_data / "sunnybrook" / "dicom" / patient).glob("*.dcm")))
    labels = disc_masks(stack.frames.shape)
    case = case_of(stack, labels, Phases(19, 7))
    items = write_results(case, with_context(series_seed=stack.series_instance_uids[0]))
    with tolerant_headers():
        assert_voxels_are_where_they_were_drawn(case, items)
        source = " ".join(str(header) for header in stack.headers.values())
    assert any("StudyDate" in note for note in header_notes(stack))
    for item in items:
        for error in conformance_errors(item, tmp_path):
            assert is_inherited(error, source), error
    lines = tool_output("dsrdump", saved(items[-1], tmp_path))
    assert not [line for line in lines if line.startswith(("E:", "F:"))]
    assert any("Left Ventricular ED Volume" in line for line in lines)


def is_inherited(error, source):
    """Whether dciodvfy objects to a source UID with a leading zero, or sums up such objections."""
    if "Leading zeroes" in error:
        return error.split("<")[1].split(">")[0] in source
    return error == "Error - Dicom dataset contains invalid data values for Value Representations"


def disc_masks(shape):
    labels = np.zeros(shape, np.uint8)
    y, x = np.mgrid[: shape[2], : shape[3]]
    radius = np.hypot(y - 128, x - 128)
    for t in range(shape[0]):
        for z in range(2, shape[1] - 2):
            labels[t, z][radius < 30] = 2
            labels[t, z][radius < 20 - t / 4] = 1
            labels[t, z][np.hypot(y - 128, x - 80 - z) < 12] = 3
    return labels
