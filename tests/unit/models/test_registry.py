"""Cards and weights: what ships is what was measured."""

import dataclasses
import shutil
import subprocess
import sys

import numpy as np
import pytest

from models.registry import WEIGHTS_FOLDER, WeightsError, build, card, home, load, names, verify
from models.training.cards import fitted_sets, licence_of, write_card


@pytest.fixture
def copied(tmp_path):
    shutil.copytree(WEIGHTS_FOLDER, tmp_path / "weights")
    return tmp_path / "weights"


def test_the_default_models_ship():
    assert {"cine_unet", "heart_localiser"} <= set(names())


@pytest.mark.parametrize("name", names())
def test_weights_are_what_the_card_says(name):
    assert verify(name).weights_sha256 == card(name).weights_sha256


@pytest.mark.parametrize("name", names())
def test_a_card_says_what_a_user_must_know(name):
    found = card(name)
    assert "Not a medical device" in found.limits
    assert found.licence == licence_of(fitted_sets(found))
    assert found.intended_use
    if all(name.startswith("synthetic") for name in fitted_sets(found)):
        assert "NO REAL PATIENT" in found.limits
        return
    assert any("doi:" in entry for entry in found.data)
    least = {"acdc": 16, "acdc_frames": 10, "emidec": 16, "ecg": 10}
    assert any(
        found.metrics[f"test_{name}"]["patients"] >= count
        for name, count in least.items()
        if f"test_{name}" in found.metrics
    )


@pytest.mark.parametrize("name", names())
def test_a_weights_file_is_small(name):
    assert (WEIGHTS_FOLDER / card(name).weights_file).stat().st_size < 16 * 2**20


@pytest.mark.parametrize("name", names())
def test_one_altered_byte_is_refused(name, copied):
    path = copied / card(name, copied).weights_file
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(WeightsError, match="differ"):
        load(name, copied)


def test_missing_weights_are_refused(copied):
    (copied / "cine_unet.npz").unlink()
    with pytest.raises(WeightsError, match="missing"):
        verify("cine_unet", copied)


def test_an_unknown_model_is_named(copied):
    with pytest.raises(WeightsError, match=r"no model 'cine_transformer'.*cine_unet"):
        card("cine_transformer", copied)


@pytest.mark.parametrize("text", ["version = ", "version = '1'", "surprise = 3"])
def test_a_broken_card_is_refused(text, copied):
    (copied / "cine_unet.toml").write_text(text)
    with pytest.raises(WeightsError, match="cannot be used"):
        card("cine_unet", copied)


def test_weights_of_another_shape_are_refused(copied):
    found = card("cine_unet", copied)
    write_card(dataclasses.replace(found, parameters={"width": 12}), copied)
    with pytest.raises(WeightsError, match="do not fit"):
        load("cine_unet", copied)


@pytest.mark.parametrize(
    ("kept", "place"), [(".toml .npz", "own"), (".toml", "own"), (".npz", "own"), ("", "shipped")]
)
def test_a_folder_of_ones_own_is_searched_first(kept, place, copied):
    """A card without weights there, or weights without card, are a fault that none replaces."""
    for suffix in {".toml", ".npz"} - set(kept.split()):
        (copied / f"cine_unet{suffix}").unlink()
    assert home("cine_unet", copied) == {"own": copied, "shipped": WEIGHTS_FOLDER}[place]
    assert home("cine_unet", None) == WEIGHTS_FOLDER
    assert home("nowhere", copied) == copied


def test_a_folder_of_ones_own_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(WeightsError, match=r"elsewhere is not there"):
        home("cine_unet", tmp_path / "elsewhere")


def test_a_model_for_another_task_or_of_unknown_architecture_is_refused(copied):
    assert verify("cine_unet", copied, "segmentation")
    with pytest.raises(WeightsError, match="is for segmentation, not for localisation"):
        verify("cine_unet", copied, "localisation")
    write_card(dataclasses.replace(card("cine_unet", copied), architecture="unet_9d"), copied)
    with pytest.raises(WeightsError, match="no architecture 'unet_9d'"):
        verify("cine_unet", copied)


def test_an_unknown_architecture_or_parameter_is_refused():
    with pytest.raises(WeightsError, match="unet_2d"):
        build("unet_9d", {})
    with pytest.raises(WeightsError, match="unet_2d"):
        build("unet_2d", {"depth": 3})


@pytest.mark.parametrize("name", names())
def test_a_card_survives_writing_and_reading(name, tmp_path):
    found = card(name)
    write_card(found, tmp_path)
    assert card(name, tmp_path) == found


@pytest.mark.parametrize("name", names())
def test_kernels_are_stored_in_half_precision(name):
    with np.load(WEIGHTS_FOLDER / card(name).weights_file) as stored:
        assert {stored[key].dtype for key in stored.files if stored[key].ndim == 4} == {
            np.dtype(np.float16)
        }


def test_cards_and_hashes_need_no_torch():
    code = (
        "import sys, models, models.registry as r\n"
        "[r.verify(name) for name in r.names()]\n"
        "sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
