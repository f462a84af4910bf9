import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

from config.schema import CineSettings
from pipeline.case import CineCase, ModelUse
from pipeline.cine import CinePipeline, cine_stages
from pipeline.errors import NotYetCovered, Rejection
from tests.unit.pipeline.cine_cases import (
    OracleLocaliser,
    OracleSegmenter,
    drawn_labels,
    finding,
    label_stack,
    oracle_pipeline,
    value,
)

STAGES = ("relevance", "segmentation", "detection", "refinement", "biomarkers", "wall", "quality")


def test_the_chain_runs_in_order_and_each_stage_leaves_its_provenance():
    case = oracle_pipeline().run(label_stack(drawn_labels()))
    assert tuple(record.stage for record in case.provenance) == STAGES
    assert all(record.seconds >= 0 for record in case.provenance)
    names = [tuple(model.name for model in record.models) for record in case.provenance]
    assert names == [
        ("oracle_localiser",), ("oracle_segmenter",), (), ("oracle_segmenter",), (), (), ()
    ]  # fmt: skip


def test_stages_without_a_network_compute_on_the_cpu():
    pipeline = replace(oracle_pipeline(), device="cuda")
    devices = [record.device for record in pipeline.run(label_stack(drawn_labels())).provenance]
    assert devices == ["cuda", "cuda", "cpu", "cuda", "cpu", "cpu", "cpu"]


def test_each_network_is_named_once():
    models = oracle_pipeline().models
    assert [model.name for model in models] == ["oracle_localiser", "oracle_segmenter"]
    assert models[0] == ModelUse(
        "oracle_localiser", "0", OracleLocaliser.card.weights_sha256, "Apache-2.0"
    )


def test_one_pipeline_serves_several_stacks_and_changes_none():
    pipeline = oracle_pipeline()
    stack = label_stack(drawn_labels())
    frames = stack.frames.copy()
    first, other, again = (
        pipeline.run(stack),
        pipeline.run(label_stack(drawn_labels(), pixel_spacing_mm=(1.2, 1.6))),
        pipeline.run(stack),
    )
    assert np.array_equal(stack.frames, frames)
    assert first.biomarkers == again.biomarkers != other.biomarkers
    assert first.quality == again.quality
    assert np.array_equal(first.segmentation.labels, again.segmentation.labels)


def test_a_stage_leaves_the_case_it_was_given_as_it_was():
    case = CineCase(label_stack(drawn_labels()))
    for stage in cine_stages(CineSettings(), OracleLocaliser(), OracleSegmenter()):
        before = replace(case)
        after = stage(case)
        assert case == before
        assert after is not case
        case = after


class CountingSegmenter(OracleSegmenter):
    calls = 0

    def __call__(self, *arguments, **careful):
        self.calls += 1
        return super().__call__(*arguments, **careful)


@pytest.mark.parametrize("end", [slice(1, None), slice(None, -1)], ids=["base", "apex"])
def test_an_uncovered_stack_is_refused_before_anything_is_segmented(end):
    segmenter = CountingSegmenter()
    stages = cine_stages(CineSettings(), OracleLocaliser(), segmenter)
    pipeline = CinePipeline(stages, "cpu", "oracle")
    stack = label_stack(drawn_labels()[:, end])
    with pytest.raises(NotYetCovered):
        pipeline.run(stack, require_coverage=True)
    assert segmenter.calls == 0
    assert finding(pipeline.run(stack), "coverage_base").check == "coverage_base"


def test_a_covered_stack_is_measured_with_coverage_required():
    case = oracle_pipeline().run(label_stack(drawn_labels()), require_coverage=True)
    assert value(case, "lv_ef") == pytest.approx(53, abs=1)


def test_a_stack_without_a_ventricle_is_rejected():
    with pytest.raises(Rejection) as caught:
        oracle_pipeline().run(label_stack(np.zeros((10, 6, 32, 32), np.uint8)))
    assert caught.value.code == "no_left_ventricle"


def test_a_study_of_two_phases_is_measured_and_marked_for_review():
    case = oracle_pipeline().run(label_stack(drawn_labels()[[4, 0]]))
    assert (case.phases.ed, case.phases.es) == (1, 0)
    assert value(case, "lv_ef") == pytest.approx(53, abs=1)
    assert finding(case, "phases_count").verdict == "review"


def test_the_settings_reach_their_stages():
    settings = CineSettings(relevance_threshold=0.99, min_phases_for_detection=13)
    with pytest.raises(Rejection):
        oracle_pipeline(settings).run(label_stack(drawn_labels()))
    strict = oracle_pipeline(CineSettings(min_phases_for_detection=13))
    assert finding(strict.run(label_stack(drawn_labels())), "phases_count").verdict == "review"


def test_the_chain_can_be_imported_without_torch():
    code = "import sys, pipeline.cine; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
