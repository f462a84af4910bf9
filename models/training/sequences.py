"""Whole cines as the ED/ES detector sees them: one median frame per phase, ED and ES known."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from models.ed_es_detector import median_projection
from models.split import Part, SplitError, patients, refuse_unfit
from models.training import acdc
from models.training.case_file import read_cases, write_cases
from models.training.cases import logged, usable
from models.training.slices import LV, UInt8, centre_of, eight_bits
from models.training.synthetic import SEEDS

_ACDC_WINDOW_YX = (85, 50)  # of `cine_cropped` in the original image


@dataclass(frozen=True, slots=True)
class CineSequence:
    """One cine, its slices projected.

    Attributes
    ----------
    frames : uint8 [t, y, x]
    pixel_spacing_mm : (row_mm, column_mm)
    centre_yx : (float, float)
        Centre of the LV at ED, in pixels.
    ed, es : int
        Zero-based frames.
    dataset, patient : str
    """

    frames: UInt8
    pixel_spacing_mm: tuple[float, float]
    centre_yx: tuple[float, float]
    ed: int
    es: int
    dataset: str
    patient: str


def acdc_sequence(data: Path, patient: str) -> CineSequence:
    """The cine of a patient of ACDC: all slices of a cine cut to its middle, else the inner ones.

    Raises
    ------
    CaseError
        There is no cine of the patient, or it cannot be used.
    """
    cine = acdc.read_cine(data, patient)
    volume, _ = acdc.read_patient(data, patient)
    cut = cine.frames.shape[2:] != volume.images.shape[1:]
    top, left = _ACDC_WINDOW_YX if cut else (0, 0)
    row, column = centre_of(np.isin(volume.labels, LV))
    return CineSequence(
        frames=eight_bits(median_projection(cine.frames, middle_only=cut)),
        pixel_spacing_mm=cine.pixel_spacing_mm,
        centre_yx=(row - top, column - left),
        ed=cine.ed,
        es=cine.es,
        dataset="acdc",
        patient=patient,
    )


def synthetic_sequence(seed: int) -> CineSequence:
    """The cine of a synthetic heart of 12 to 35 phases."""
    from models.synthetic.cine import synthesise_cine

    rng = np.random.default_rng(seed)
    spacing, phases = float(rng.uniform(1.3, 1.9)), int(rng.integers(12, 36))
    size = round(220 / spacing)
    cine = synthesise_cine(
        seed, phases=phases, rows=size, columns=size, pixel_spacing_mm=(spacing, spacing)
    )
    return CineSequence(
        frames=eight_bits(median_projection(cine.frames)),
        pixel_spacing_mm=cine.pixel_spacing_mm,
        centre_yx=centre_of(np.isin(cine.labels[cine.ed], LV)),
        ed=cine.ed,
        es=cine.es,
        dataset="synthetic",
        patient=f"synthetic-{seed}",
    )


def fitting_sequences(data: Path, dataset: str, part: Part) -> Iterator[CineSequence]:
    """Sequences of a set, "acdc" or "synthetic", for fitting; who has no cine is left out.

    Raises
    ------
    SplitError
        A test patient or one that is never fitted would take part.
    """
    if part == "test":
        raise SplitError(f"not for fitting: the test patients of '{dataset}'")
    if dataset == "synthetic":
        yield from (synthetic_sequence(seed) for seed in SEEDS[part])
        return
    names = patients(dataset, part)
    refuse_unfit(dataset, names)
    yield from usable(names, partial(acdc_sequence, data), logged(dataset))


def prepare_sequences(
    data: Path, output: Path, part: Part, sets: tuple[str, ...]
) -> tuple[CineSequence, ...]:
    """Sequences of one part, through array files below `output` that are kept."""
    found: list[CineSequence] = []
    for dataset in (name for name in ("acdc", "synthetic") if name in sets):
        path = output / f"{dataset}-{part}-sequences.npz"
        if not path.is_file():
            if dataset == "acdc" and not acdc.is_there(data):
                continue
            write_cases(path, fitting_sequences(data, dataset, part))
        found.extend(read_cases(path, CineSequence))
    return tuple(found)
