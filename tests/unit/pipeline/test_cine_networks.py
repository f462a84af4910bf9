"""The cine chain with the shipped networks: on the synthetic heart, and on two real studies.

The real studies (SCD0000101 and SCD0000201) were never fitted. Their images also serve the tests
of bad planes and cut stacks, since these ask what the networks make of real images.
"""

import csv
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from pydicom import dcmread

from config.schema import CINE_ROUTE, CineSettings, WorkerSettings
from models.backend import choose_backend
from models.synthetic.cine import SyntheticCine, synthesise_cine
from pipeline.assemble import assemble
from pipeline.case import CineCase, CineStack
from pipeline.cine import CinePipeline, build_cine_pipeline
from pipeline.errors import NotYetCovered, Rejection
from pipeline.headers import InstanceHeader, read_header
from pipeline.routing import propose
from pipeline.stages.detection import cyclic_distance
from pipeline.stages.quality import check_missing_images
from tests.unit.pipeline.cine_cases import finding, label_stack, value

PATIENTS = ("SCD0000101", "SCD0000201")


@cache
def pipeline() -> CinePipeline:
    return build_cine_pipeline(CineSettings(), WorkerSettings())


def synthetic_stack(cine: SyntheticCine) -> CineStack:
    stack = label_stack(
        cine.labels,
        pixel_spacing_mm=cine.pixel_spacing_mm,
        slice_spacing_mm=cine.slice_spacing_mm,
    )
    return replace(stack, frames=cine.frames)


@cache
def real_files(folder: Path) -> dict[Path, InstanceHeader]:
    return {path: read_header(path) for path in sorted(folder.rglob("*.dcm"))}


@cache
def real_stack(folder: Path, without: frozenset[str] = frozenset()) -> CineStack:
    """A study, perhaps without some instances."""
    there = {
        path: header
        for path, header in real_files(folder).items()
        if header.sop_instance_uid not in without
    }
    (proposal,) = propose(there.values(), (CINE_ROUTE,))
    files = {header.sop_instance_uid: path for path, header in there.items()}
    return assemble(proposal, files, CineSettings())


@cache
def real_case(folder: Path) -> CineCase:
    return pipeline().run(real_stack(folder))


def truth_of(data: Path, patient: str) -> dict[str, str]:
    with (data / "sunnybrook" / "truth_from_contours.csv").open(newline="") as table:
        return next(row for row in csv.DictReader(table) if row["patient_id"] == patient)


def study(data: Path, patient: str) -> Path:
    return data / "sunnybrook" / "dicom" / patient


def test_the_pipeline_names_its_networks_and_its_backend():
    names = [model.name for model in pipeline().models]
    assert names == [CineSettings().localiser, CineSettings().segmenter]
    assert all(len(model.weights_sha256) == 64 for model in pipeline().models)
    assert pipeline().device == choose_backend("auto").device
    assert pipeline().numeric_backend.startswith("torch-")


@pytest.mark.parametrize(
    "geometry",
    [
        {"ed_phase": 7},
        {"heart_offset_mm": (60.0, 0.0), "rows": 224},
        {"heart_offset_mm": (-20.0, 57.0), "columns": 256},
        {"pixel_spacing_mm": (1.2, 1.9), "rows": 240, "columns": 160},
    ],
    ids=["centred", "60 mm down", "60 mm aside", "non-square"],
)
def test_the_synthetic_heart_is_found_and_measured(geometry):
    cine = synthesise_cine(42, phases=8, **geometry)
    case = pipeline().run(synthetic_stack(cine))
    assert value(case, "lv_ef") == pytest.approx(cine.truth["lv_ef"], abs=10)
    assert value(case, "lv_edv") == pytest.approx(cine.truth["lv_edv"], rel=0.25)
    assert cyclic_distance(case.phases.ed, cine.ed, 8) <= 1
    assert cyclic_distance(case.phases.es, cine.es, 8) <= 1


def test_the_same_stack_gives_the_same_numbers():
    stack = synthetic_stack(synthesise_cine(3, phases=2))
    first, second = pipeline().run(stack), pipeline().run(stack)
    assert first.biomarkers == second.biomarkers
    assert np.array_equal(first.segmentation.labels, second.segmentation.labels)
    assert np.array_equal(first.relevance.probability, second.relevance.probability)


@pytest.mark.parametrize("patient", PATIENTS)
def test_the_ejection_fraction_of_a_real_study(real_data, patient):
    truth = truth_of(real_data, patient)
    case = real_case(study(real_data, patient))
    assert value(case, "lv_ef") == pytest.approx(float(truth["ef_percent"]), abs=7)


@pytest.mark.parametrize("patient", PATIENTS)
def test_the_phases_of_a_real_study(real_data, patient):
    truth = truth_of(real_data, patient)
    case = real_case(study(real_data, patient))
    ed, es = (int(truth[f"{name}_phase_index_1based"]) - 1 for name in ("ed", "es"))
    assert cyclic_distance(case.phases.ed, ed, 20) <= 2
    assert cyclic_distance(case.phases.es, es, 20) <= 2


@pytest.mark.parametrize("patient", PATIENTS)
def test_the_volumes_of_a_real_study(real_data, patient):
    """Wider than for the ejection fraction: which basal slices belong is a convention."""
    truth = truth_of(real_data, patient)
    case = real_case(study(real_data, patient))
    assert value(case, "lv_edv") == pytest.approx(float(truth["edv_ml"]), rel=0.35)
    assert value(case, "lv_mass") == pytest.approx(
        float(truth["lv_mass_g_1.05"]) * 1.055 / 1.05, rel=0.6
    )
    assert value(case, "heart_rate") is not None
    assert value(case, "bsa") is None


@pytest.mark.parametrize("patient", PATIENTS)
def test_every_slice_with_a_contour_is_relevant(real_data, patient):
    folder = real_data / "sunnybrook" / "contours" / patient / "endo"
    numbers = {int(path.name.split("-")[2]) for path in folder.iterdir()}
    case = real_case(study(real_data, patient))
    for z, relevant in enumerate(case.relevance.relevant):
        uids = {row[z].sop_instance_uid for row in case.stack.sources}
        contoured = {case.stack.headers[uid].InstanceNumber for uid in uids} & numbers
        assert relevant or not contoured


def cut(stack: CineStack, kept: slice) -> CineStack:
    return replace(
        stack,
        frames=stack.frames[:, kept],
        sources=tuple(row[kept] for row in stack.sources),
        positions_mm=stack.positions_mm[kept],
        slice_extent_mm=stack.slice_extent_mm[kept],
    )


@pytest.mark.parametrize("patient", PATIENTS)
def test_a_real_study_cut_in_the_middle_is_not_measured(real_data, patient):
    relevant = np.flatnonzero(real_case(study(real_data, patient)).relevance.relevant)
    middle = int(relevant[len(relevant) // 2])
    stack = real_stack(study(real_data, patient))
    few = replace(cut(stack, slice(middle, None)), frames=stack.frames[::4, middle:])
    with pytest.raises(NotYetCovered):
        pipeline().run(few, require_coverage=True)
    case = pipeline().run(few)
    assert "withheld" in {finding(case, f"coverage_{end}").verdict for end in ("base", "apex")}
    assert value(case, "lv_edv") is None


@pytest.mark.parametrize(
    ("gone", "verdict", "named"),
    [((5,), "review", "1 slice"), ((4, 5, 6, 7), "withheld", "4 slices")],
)
def test_slices_missing_from_a_real_study_are_named(real_data, gone, verdict, named):
    folder = study(real_data, PATIENTS[0])
    lost = frozenset(row[z].sop_instance_uid for row in real_stack(folder).sources for z in gone)
    whole, torso = (CineCase(real_stack(folder, without)) for without in (frozenset(), lost))
    assert check_missing_images(whole, CineSettings().quality).verdict == "ok"
    found = check_missing_images(torso, CineSettings().quality)
    assert (found.verdict, f": {named} missing" in found.reason) == (verdict, True)


def test_images_of_no_heart_are_rejected():
    noise = np.random.default_rng(0).rayleigh(30, (2, 6, 96, 96)).astype(np.float32)
    with pytest.raises(Rejection, match="no_left_ventricle"):
        pipeline().run(replace(label_stack(np.zeros(noise.shape, np.uint8)), frames=noise))


def test_a_long_axis_cine_is_not_measured_as_a_short_axis(real_data):
    """One long-axis view, repeated as if it were a stack."""
    images = [dcmread(path) for path in sorted(real_data.glob("other/long_axis_cine/*.dcm"))]
    position = images[0].ImagePositionPatient
    view = [image.pixel_array for image in images if image.ImagePositionPatient == position][::8]
    frames = np.repeat(np.array(view, dtype=np.float32)[:, None], 7, axis=1)
    stack = label_stack(np.zeros(frames.shape, np.uint8), pixel_spacing_mm=(0.82, 0.82))
    with pytest.raises(Rejection, match="no_left_ventricle"):
        pipeline().run(replace(stack, frames=frames))
