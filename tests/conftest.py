"""Fixtures shared by all tests."""

import os
from pathlib import Path

import pytest
from hypothesis import settings

# How long an example takes says more of the machine than of the product.
settings.register_profile("any machine", deadline=None)
settings.load_profile("any machine")


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
