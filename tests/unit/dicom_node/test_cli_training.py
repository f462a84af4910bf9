"""The commands prepare, train and evaluate: what they demand and say, not what they compute."""

import pytest
from typer.testing import CliRunner

from dicom_node.cli import app
from models.training import study_lv_slices
from models.training.data import SETS
from models.training.tasks import NoDataError


def invoke(*arguments, data=None):
    return CliRunner().invoke(app, list(arguments), env={"DICOM_NODE_DATA": data, "COLUMNS": "200"})


@pytest.mark.parametrize("command", ["train", "evaluate"])
def test_the_data_folder_is_demanded_and_may_come_from_the_environment(command):
    result = invoke(command, "cine_unet", "--output", "x")
    assert result.exit_code == 2
    assert "--data" in result.output
    assert "DICOM_NODE_DATA" in invoke(command, "--help").output


def test_a_set_that_is_unknown_is_refused_with_those_that_are(tmp_path):
    output = str(tmp_path / "out")
    result = invoke("train", "cine_unet", "--output", output, "--set", "atlas", data=str(tmp_path))
    assert result.exit_code == 2
    assert "no set atlas" in result.output
    assert all(name in result.output for name in SETS)


def test_training_without_data_says_so(tmp_path):
    output = str(tmp_path / "out")
    result = invoke("train", "cine_unet", "--output", output, "--set", "acdc", data=str(tmp_path))
    assert isinstance(result.exception, NoDataError)
    assert not (tmp_path / "out" / "cine_unet").exists()


def test_preparing_nothing_is_a_failure(tmp_path):
    table = tmp_path / "volumes.csv"
    table.write_text("study,lv_edv_ml,lv_esv_ml\n1.2.3,150,60\n")
    result = invoke(
        "prepare", str(tmp_path), "--volumes", str(table), "--output", str(tmp_path / "data")
    )
    assert result.exit_code == 1
    assert "line 2: left out: no DICOM instance" in result.output
    assert "none" in result.output


def test_a_study_is_told_what_was_asked(tmp_path, monkeypatch):
    asked = {}

    def study(data, output, **options):
        asked.update(options, data=data, output=output)
        return output / "study.md"

    monkeypatch.setattr(study_lv_slices, "study_lv_slices", study)
    result = invoke(
        "study", "lv-slices", "--output", str(tmp_path / "out"), "--quick", data=str(tmp_path)
    )
    assert result.exit_code == 0
    assert asked["quick"]
    assert (asked["steps"], asked["data"]) == (2000, tmp_path)
    assert "study.md" in result.output
