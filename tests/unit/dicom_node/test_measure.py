"""The node's chain on plain arrays, with the shipped networks, and the reports made with it."""

import json
from dataclasses import replace

import numpy as np
import pytest

from dicom_node.evaluate import evaluate_model
from dicom_node.measure import NodeChain
from models.ed_es_detector import FrameReading
from models.predict import HeartLocaliser, StackSegmenter
from models.registry import WEIGHTS_FOLDER, WeightsError, build, card, save_weights
from models.regressor import RegressedVolume
from models.synthetic.cine import synthesise_cine
from models.training import evaluate, synthetic
from models.training.cards import write_card
from models.training.cases import CaseError, LabelledCine
from models.training.metrics import cyclic_frames, dice
from models.training.recipes import RECIPES


@pytest.fixture(scope="module")
def chain():
    return NodeChain(HeartLocaliser(), StackSegmenter())


def test_the_chain_labels_and_times_a_heart(chain):
    cine = synthesise_cine(3, phases=8, slices=8)
    geometry = cine.pixel_spacing_mm, cine.slice_spacing_mm
    pair = [cine.ed, cine.es]
    labels = chain.labels(cine.frames[pair], *geometry)
    assert labels.shape == cine.labels[pair].shape
    assert dice(labels == 1, cine.labels[pair] == 1) > 0.85
    frames = np.roll(cine.frames, 3, axis=0)
    ed, es = chain.phases(frames, *geometry)
    assert cyclic_frames(ed.frame, cine.ed + 3, 8) <= 1
    assert cyclic_frames(es.frame, cine.es + 3, 8) <= 1


def test_what_the_chain_rejects_is_labelled_empty_and_has_no_phases(chain):
    noise = np.random.default_rng(0).rayleigh(30, (3, 6, 96, 96)).astype(np.float32)
    assert not chain.labels(noise, (1.4, 1.4), 8.0).any()
    with pytest.raises(CaseError, match="no_left_ventricle"):
        chain.phases(noise, (1.4, 1.4), 8.0)


def test_the_detector_of_the_chain_tells_the_phases():
    class Fixed:
        card = card("cine_unet")

        def __call__(self, frames, *_):
            return FrameReading(5, sure=True), FrameReading(1, sure=False)

    cine = synthesise_cine(3, phases=8, slices=8)
    chain = NodeChain(HeartLocaliser(), StackSegmenter(), Fixed())
    found = chain.phases(cine.frames, cine.pixel_spacing_mm, cine.slice_spacing_mm)
    assert found == Fixed()(cine.frames)


def test_the_regressor_of_the_chain_sees_the_slices_that_show_the_ventricle():
    class Counting:
        card = card("cine_unet")

        def __call__(self, images, *_):
            masks = np.ones(images.shape, dtype=bool)
            return RegressedVolume(np.full(len(images), 100.0), masks, masks)

    cine = synthesise_cine(3, phases=8, slices=8)
    geometry = cine.pixel_spacing_mm, cine.slice_spacing_mm
    chain = NodeChain(HeartLocaliser(), StackSegmenter(), regressor=Counting())
    frames = cine.frames[[cine.ed, cine.es]]
    beyond = np.random.default_rng(1).rayleigh(30, frames[:, :2].shape).astype(np.float32)
    for found in chain.regressed(np.concatenate([beyond, frames], axis=1), *geometry):
        shown = found.explanation.any(axis=(1, 2))
        assert shown.tolist()[:2] == [False, False]
        assert shown.sum() >= 5
        assert found.area_mm2.tolist() == (100.0 * shown).tolist()
    noise = np.random.default_rng(0).rayleigh(30, (2, 6, 96, 96)).astype(np.float32)
    with pytest.raises(CaseError, match="no_left_ventricle"):
        chain.regressed(noise, (1.4, 1.4), 8.0)


def write_untrained(folder, recipe):
    """An untrained network of a recipe, with its card, as model `tiny`."""
    parameters = {**recipe.parameters, "width": 8}
    network = build(recipe.architecture, parameters)
    made = replace(
        card("cine_unet"),
        name="tiny",
        task=recipe.task,
        architecture=recipe.architecture,
        parameters=parameters,
        input=recipe.input,
        data=(),
        weights_file="tiny.npz",
        weights_sha256=save_weights(network, folder / "tiny.npz"),
    )
    write_card(made, folder)


def test_a_regressor_of_volumes_is_measured(tmp_path, monkeypatch):
    monkeypatch.setattr(synthetic, "SEEDS", {"test": (3000,)})
    write_untrained(tmp_path, RECIPES["cine_volume_regression"])
    path = evaluate_model("tiny", tmp_path, tmp_path, weights=tmp_path, say=lambda _: None)
    figures = json.loads(path.with_suffix(".json").read_text())["sets"]["synthetic"]
    assert {"lv_edv_error_ml", "dice_lv_ed_raw", "dice_lv_es_dilated"} <= set(figures["summary"])
    assert figures["agreement"]["lv_edv"]["n"] == 1


def test_a_detector_of_frames_is_measured_in_the_chain(tmp_path, monkeypatch):
    """An untrained one, with its card in a folder of its own, on one cine."""
    write_untrained(tmp_path, RECIPES["cine_ed_es"])
    cine = synthesise_cine(3, phases=8, slices=8)
    known = LabelledCine(cine.frames, cine.pixel_spacing_mm, 10.0, cine.ed, cine.es, "patient010")
    monkeypatch.setattr(evaluate, "_names", lambda _, name: ("x",) if name == "acdc" else ())
    monkeypatch.setattr(evaluate.acdc, "read_cine", lambda *_: known)
    path = evaluate_model("tiny", tmp_path, tmp_path, weights=tmp_path, say=lambda _: None)
    content = json.loads(path.with_suffix(".json").read_text())
    assert content["frames"]["summary"]["acdc"]["ed_error_frames"]["n"] == 1
    assert {"ed_error_frames_naive", "to_review"} <= set(content["frames"]["summary"]["acdc"])
    assert content["sets"] == {}
    assert "## ED and ES frames, acdc: unseen scanner" in path.read_text()


@pytest.mark.parametrize("weights", [None, WEIGHTS_FOLDER])
def test_a_shipped_model_is_measured_on_synthetic_hearts(tmp_path, monkeypatch, weights):
    monkeypatch.setattr(synthetic, "SEEDS", {"test": (3000,)})
    for model in ("cine_unet", "heart_localiser"):
        path = evaluate_model(
            model, tmp_path / "no-data", tmp_path, device="cpu", weights=weights, say=lambda _: None
        )
        content = json.loads(path.with_suffix(".json").read_text())
        assert content["weights_sha256"] == card(model).weights_sha256
        assert list(content["sets"]) == ["synthetic"]
        assert content["card"]["test_synthetic"]["patients"] == 1
    content = json.loads((tmp_path / "evaluation-cine_unet-test.json").read_text())
    figures = content["sets"]["synthetic"]["summary"]
    assert figures["dice_lv_ed"]["mean"] > 0.85
    assert figures["hausdorff_lv_ed_mm"]["mean"] < 20
    assert abs(figures["lv_ef_error"]["mean"]) < 10


def test_a_model_or_folder_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(WeightsError, match="no model 'oracle'"):
        evaluate_model("oracle", tmp_path, tmp_path)
    with pytest.raises(WeightsError, match="known: none"):
        evaluate_model("cine_unet", tmp_path, tmp_path, weights=tmp_path)
