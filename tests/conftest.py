"""Fixtures shared by all tests."""

import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def real_data() -> Path:
    """Folder of real labelled images (DICOM_NODE_DATA); demanded under CI, else skipped by name."""
    default = Path(__file__).parents[1] / ".." / "shared" / "data"
    folder = Path(os.environ.get("DICOM_NODE_DATA", default)).resolve()
    if not (folder / "README.md").is_file():
        message = f"real images are not at hand (DICOM_NODE_DATA={folder})"
        if os.environ.get("CI"):
            pytest.fail(message)
        pytest.skip(message)
    return folder
