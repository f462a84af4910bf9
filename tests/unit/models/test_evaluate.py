"""The figures of an evaluation, by hand."""

import json

import numpy as np
import pytest

from models.registry import WeightsError, card
from models.training import evaluate as module
from models.training.evaluate import as_markdown, dice, ejection_fraction, evaluate, summarise


def test_dice_of_known_masks():
    one = np.array([1, 1, 1, 0], dtype=bool)
    assert dice(one, np.array([0, 1, 1, 1], dtype=bool)) == pytest.approx(2 / 3)
    assert dice(~one & one, ~one & one) == 1
    assert dice(one, ~one) == 0


def test_ejection_fraction():
    assert ejection_fraction(150, 60) == pytest.approx(60)
    assert np.isnan(ejection_fraction(0, 0))


def test_summary_per_set():
    rows = [
        {"dataset": "a", "patient": "1", "lv_ef_error": -2.0},
        {"dataset": "a", "patient": "2", "lv_ef_error": 4.0, "dice_lv_ed": 0.9},
        {"dataset": "b", "patient": "3", "lv_ef_error": 1.0},
    ]
    table = summarise(rows)
    assert table["a"]["lv_ef_error"]["n"] == 2
    assert table["a"]["lv_ef_error"]["mean"] == 1
    assert table["a"]["lv_ef_error"]["mean_absolute"] == 3
    assert table["a"]["lv_ef_error"]["sd"] == pytest.approx(18**0.5, abs=1e-4)
    assert table["b"]["lv_ef_error"]["sd"] == 0
    assert table["a"]["dice_lv_ed"]["n"] == 1
    text = as_markdown("title", table)
    assert text.startswith("# title")
    assert "| lv_ef_error | 2 | 1 |" in text


def test_a_shipped_model_is_measured_on_synthetic_hearts(tmp_path, monkeypatch):
    monkeypatch.setattr(module.synthetic, "SEEDS", {"test": (3000,)})
    for model in ("cine_unet", "heart_localiser"):
        path = evaluate(model, tmp_path / "no-data", tmp_path, device="cpu")
        content = json.loads(path.with_suffix(".json").read_text())
        assert content["weights_sha256"] == card(model).weights_sha256
        assert list(content["summary"]) == ["synthetic"]
        assert content["card"]["test_synthetic"]["patients"] == 1
    figures = json.loads((tmp_path / "evaluation-cine_unet-test.json").read_text())["summary"]
    assert figures["synthetic"]["dice_lv_ed"]["mean"] > 0.85
    assert abs(figures["synthetic"]["lv_ef_error"]["mean"]) < 10


def test_an_unknown_model_is_refused(tmp_path):
    with pytest.raises(WeightsError):
        evaluate("oracle", tmp_path, tmp_path)
