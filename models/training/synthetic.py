"""Adapter of the product's own synthetic hearts; seeds take the place of patients."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from models.split import Part
from models.training.cases import LabelledVolume
from models.training.emidec import LV
from models.training.slices import LabelledSlice, slices_of_volume

if TYPE_CHECKING:
    from models.synthetic.cine import SyntheticCine

SEEDS: dict[Part, range] = {
    "train": range(1000, 1040),
    "validation": range(2000, 2006),
    "test": range(3000, 3010),
}


def synthetic_volumes(seed: int) -> Iterator[LabelledVolume]:
    """ED and ES volumes of a synthetic heart of varied geometry."""
    from models.synthetic.cine import synthesise_cine

    rng = np.random.default_rng(seed)
    spacing = float(rng.uniform(1.2, 1.9))
    size = round(float(rng.uniform(290, 370)) / spacing)
    offset_y, offset_x = rng.uniform(-40, 40, size=2)
    cine = synthesise_cine(
        seed,
        phases=10,
        rows=size,
        columns=size,
        pixel_spacing_mm=(spacing, spacing),
        heart_offset_mm=(float(offset_y), float(offset_x)),
    )
    yield _volume(cine, cine.ed, "ed", seed)
    yield _volume(cine, cine.es, "es", seed)


def _volume(cine: "SyntheticCine", phase: int, name: str, seed: int) -> LabelledVolume:
    return LabelledVolume(
        images=cine.frames[phase],
        labels=cine.labels[phase],
        pixel_spacing_mm=cine.pixel_spacing_mm,
        slice_spacing_mm=cine.slice_spacing_mm,
        patient=f"synthetic-{seed}",
        phase=name,
    )


def synthetic_slices(part: Part) -> Iterator[LabelledSlice]:
    """Slices of the synthetic hearts of one part, those beyond the LV included."""
    for seed in SEEDS[part]:
        for volume in synthetic_volumes(seed):
            yield from slices_of_volume(volume, "synthetic")


def synthetic_lge_slices(part: Part) -> Iterator[LabelledSlice]:
    """Slices of late enhancement of the same hearts, labelled as EMIDEC is.

    One heart in four has no scar; every other one is phase-sensitive.
    """
    for seed in SEEDS[part]:
        yield from slices_of_volume(synthetic_lge(seed), "synthetic_lge", lv=LV)


def synthetic_lge(seed: int) -> LabelledVolume:
    """Late enhancement stack of the synthetic heart of a seed, labelled as EMIDEC is."""
    from models.synthetic.lge import synthesise_lge

    rng = np.random.default_rng([seed, 1])
    spacing = float(rng.uniform(1.2, 1.9))
    size = round(float(rng.uniform(290, 370)) / spacing)
    heart = synthesise_lge(
        seed,
        rows=size,
        columns=size,
        pixel_spacing_mm=(spacing, spacing),
        scar=seed % 4 > 0,
    )
    magnitude, signed = heart.acquire()
    images = signed - signed.min() if seed % 2 else magnitude
    codes = np.array([0, 1, 2, 0, 0, 3, 4], dtype=np.uint8)
    return LabelledVolume(
        images=images,
        labels=codes[heart.labels],
        pixel_spacing_mm=heart.pixel_spacing_mm,
        slice_spacing_mm=heart.slice_spacing_mm,
        patient=f"synthetic-{seed}",
        phase="lge",
        group="infarct" if seed % 4 else "no infarct",
    )
