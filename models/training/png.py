"""PNG images as some sets keep them."""

from pathlib import Path

import numpy as np

from models.training.cases import CaseError
from models.training.slices import UInt8


def read_png(path: Path) -> UInt8:
    """Read a PNG as 8-bit grey values [y, x].

    Raises
    ------
    CaseError
        The file is missing or damaged.
    """
    from PIL import Image

    try:
        with Image.open(path) as image:
            return np.asarray(image.convert("L"))
    except OSError as error:
        raise CaseError(f"{path.parent.name}/{path.name} cannot be read") from error
