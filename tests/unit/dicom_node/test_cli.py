from importlib.metadata import version

from typer.testing import CliRunner

from dicom_node.cli import app


def test_the_version_is_that_of_the_installed_product():
    done = CliRunner().invoke(app, ["--version"])
    assert done.exit_code == 0
    assert done.output.strip() == version("dicom-node")


def test_the_help_says_what_it_is():
    done = CliRunner().invoke(app, ["--help"])
    assert "Automatic cardiac MR analysis" in done.output
