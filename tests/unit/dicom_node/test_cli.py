from importlib.metadata import version

import pytest
from typer.testing import CliRunner

from config import DEFAULT_FILE
from config.loader import load_settings
from dicom_node.cli import app

OWN = """
[[peers]]
ae_title = "PACS"

[[routes]]
pipeline = "cine"
series_description = '\\bsax "x"'

[site]
institution = "Krankenhaus Süd"

[storage]
folder = "data"
"""


def test_the_version_is_that_of_the_installed_product():
    done = CliRunner().invoke(app, ["--version"])
    assert done.exit_code == 0
    assert done.output.strip() == version("dicom-node")


def test_the_help_says_what_it_is():
    done = CliRunner().invoke(app, ["--help"])
    assert "Automatic cardiac MR analysis" in done.output


@pytest.mark.parametrize("text", [DEFAULT_FILE.read_text(), OWN], ids=["default", "own"])
def test_the_settings_shown_are_a_file_that_gives_the_same_settings(text, tmp_path):
    given, shown = tmp_path / "given.toml", tmp_path / "shown.toml"
    given.write_text(text)
    done = CliRunner().invoke(app, ["config", "show", "--config", str(given)])
    assert done.exit_code == 0
    shown.write_text(done.stdout)
    assert load_settings(shown, {}) == load_settings(given, {})
