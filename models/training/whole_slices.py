"""Whole slices as the slice classifier sees them: laid as in service, patched, recontrasted."""

import math
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Generator, Tensor

from models.preprocess import CropGrid, clip_to_unit
from models.training.augment import uniform
from models.training.emidec import is_lge
from models.training.lge_contrast import as_lge
from models.training.slice_task import lay
from models.training.slices import LabelledSlice, allowed_bits

WHOLE_SLICE = CropGrid(rows=227, columns=227, spacing_mm=1.5)


@dataclass(frozen=True, slots=True)
class WholeSlice:
    """One slice to measure a classifier with.

    Attributes
    ----------
    image : float32 [y, x]
        On the pixels of the set.
    entry : LabelledSlice
    contrast : str
        "cine", "as LGE" (made of a cine slice) or "LGE".
    """

    image: npt.NDArray[np.float32]
    entry: LabelledSlice
    contrast: str


def plain_slices(slices: Iterable[LabelledSlice]) -> Iterator[WholeSlice]:
    """Slices as they are, those of cines in LGE contrast too.

    The contrast follows from the names of a slice, so that each evaluation sees the same.
    """
    for entry in slices:
        yield WholeSlice(entry.image.astype(np.float32), entry, "LGE" if is_lge(entry) else "cine")
        if is_lge(entry):
            continue
        name = f"{entry.patient} {entry.phase} {entry.position}"
        generator = torch.Generator().manual_seed(zlib.crc32(name.encode()))
        grey = clip_to_unit(torch.from_numpy(entry.image)[None, None].float())
        allowed = torch.from_numpy(entry.allowed)[None, None]
        changed = as_lge(grey, allowed, allowed > 0, generator)
        yield WholeSlice(changed[0, 0].numpy(), entry, "as LGE")


def laid(
    entry: LabelledSlice, centre_yx: tuple[float, float], matrix: Tensor | None = None
) -> tuple[Tensor, Tensor, Tensor]:
    """Image in 0 to 1, allowed classes and scanned part of a slice, each [1, 1, y, x]."""
    image, allowed, inside = lay((entry,), WHOLE_SLICE, (centre_yx,), matrix)
    return clip_to_unit(image), allowed, inside


def lv_of(allowed: Tensor) -> Tensor:
    """Where LV cavity or LV myocardium is, in the classes of the cine sets; bool."""
    return torch.isin(allowed, torch.tensor([allowed_bits(1), allowed_bits(2)]))


def patched(image: Tensor, allowed: Tensor, generator: Generator, *, over_heart: bool) -> Tensor:
    """Lay a round patch of the same image, as large as the LV, over the LV or over a place beside.

    Parameters
    ----------
    image : float tensor [1, 1, y, x]
    allowed : uint8 tensor [1, 1, y, x]
        Shows the LV in the classes of the cine sets.
    generator : Generator
    over_heart : bool
        Covered, the slice shows no LV; a patch beside it changes nothing in that.
    """
    rows, columns = torch.nonzero(lv_of(allowed)[0, 0], as_tuple=True)
    centre = float(rows.float().mean()), float(columns.float().mean())
    reach = float(torch.hypot(rows - centre[0], columns - centre[1]).max())
    radius = max(reach, 4.0) * uniform(1.1, 1.4, generator)
    elsewhere = _beside(centre, radius, generator)
    target = centre if over_heart else elsewhere
    source = elsewhere if over_heart else _beside(elsewhere, radius, generator)
    shift = [round(there - here) for there, here in zip(target, source, strict=True)]
    y, x = (torch.arange(size) for size in image.shape[-2:])
    distance = torch.hypot(y[:, None] - target[0], x[None] - target[1])
    weight = ((radius + 2 - distance) / 4).clamp(0, 1)
    covered: Tensor = image * (1 - weight) + image.roll(shift, (2, 3)) * weight
    return covered


def _beside(place: tuple[float, float], radius: float, generator: Generator) -> tuple[float, float]:
    """A place so far off that circles about both do not touch."""
    angle = uniform(-math.pi, math.pi, generator)
    distance = radius * uniform(2.1, 3.5, generator)
    return place[0] + distance * math.sin(angle), place[1] + distance * math.cos(angle)
