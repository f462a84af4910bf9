"""`dicom-node process --explain`: a picture of the slices of each stack."""

from dataclasses import replace

import numpy as np
import pytest

from config.schema import Settings
from dicom_node.explanation import draw_slices
from dicom_node.phantom_lge import write_lge_study
from dicom_node.process import process_files
from models.training.png import read_png
from pipeline.stages.relevance import SliceExplanation
from tests.integration.test_lge_true_masks import true_classes
from tests.unit.pipeline.lge_cases import OracleClassifier, lge_pipeline


def test_the_picture_shows_what_was_seen(tmp_path):
    images = np.random.default_rng(0).random((5, 20, 30)).astype(np.float32)
    seen = np.zeros_like(images)
    plain = SliceExplanation(images, seen, np.full(5, 0.7), np.ones(5, bool))
    seen = seen.copy()
    seen[2, 5:15, 5:15] = 1
    left_out = np.arange(5) < 4
    drawn = []
    for one in (plain, replace(plain, seen=seen), replace(plain, relevant=left_out)):
        draw_slices(one, tmp_path / "slices.png")
        drawn.append(read_png(tmp_path / "slices.png"))
    changed = [np.argwhere(picture != drawn[0])[:, :2] for picture in drawn[1:]]
    rows, columns = drawn[0].shape[:2]
    row, column = changed[0].mean(axis=0)  # the third of four in the first of two rows
    assert row < rows / 2 < columns / 2 < column < 3 * columns / 4
    assert changed[1][:, 0].min() > rows / 2 - 20  # the words above the fifth


@pytest.mark.parametrize("probability", [0.9, 0.1, None])
def test_a_stack_is_explained_by_its_classifier_also_when_it_is_rejected(
    probability, tmp_path, monkeypatch
):
    form = {"rows": 96, "columns": 96, "pixel_spacing_mm": (3.0, 3.0), "slices": 8}
    write_lge_study(tmp_path / "study", 1, **form)
    classifier = None if probability is None else OracleClassifier(np.full(8, probability))
    chain = lge_pipeline(true_classes(tmp_path / "study"), classifier)
    monkeypatch.setattr("pipeline.lge.build_lge_pipeline", lambda settings, worker: chain)
    study, out = tmp_path / "study", tmp_path / "out"
    (found,) = process_files([study], out, Settings(), explain=True).series
    assert found.status == ("rejected" if probability == 0.1 else "completed")
    pictures = [path.name for path in out.glob("*.png")]
    assert pictures == ([] if classifier is None else ["stack-1-slices.png"])
