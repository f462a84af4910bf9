"""From the labelled sets to the array files that training reads, one per set and part."""

from collections.abc import Callable, Iterator
from itertools import groupby
from pathlib import Path

from models import split
from models.split import Part, SplitError
from models.training import acdc, emidec, mnms, studies, sunnybrook
from models.training.cases import logged, usable
from models.training.ecg_sets import ECG_SETS
from models.training.slices import LabelledSlice, read_slices, write_slices
from models.training.spect_sets import SPECT_SETS
from models.training.synthetic import synthetic_lge_slices, synthetic_slices

ADAPTERS: dict[str, Callable[[Path, tuple[str, ...]], Iterator[LabelledSlice]]] = {
    "acdc": acdc.acdc_slices,
    "mnms": mnms.mnms_slices,
    "sunnybrook": sunnybrook.sunnybrook_slices,
    "emidec": emidec.emidec_slices,
}
_SYNTHETIC: dict[str, Callable[[Part], Iterator[LabelledSlice]]] = {
    "synthetic": synthetic_slices,
    "synthetic_lge": synthetic_lge_slices,
}
SLICE_SETS = (*ADAPTERS, *_SYNTHETIC)
SETS = (*SLICE_SETS, "studies", *ECG_SETS, *SPECT_SETS)
REFIT = "prepared-refit"
"""Folder of a run for the array files of `prepare_refit`."""
_IS_THERE: dict[str, Callable[[Path], bool]] = {
    "acdc": acdc.is_there,
    "mnms": mnms.is_there,
    "sunnybrook": lambda data: (data / "sunnybrook").is_dir(),
    "emidec": emidec.is_there,
    "synthetic": lambda _: True,
    "synthetic_lge": lambda _: True,
    "studies": studies.is_there,
    **ECG_SETS,
    **SPECT_SETS,
}


def is_there(data: Path, dataset: str) -> bool:
    """Whether a set lies below the data folder; synthetic hearts always do."""
    return _IS_THERE[dataset](data)


def patients(data: Path, dataset: str, part: Part) -> tuple[str, ...]:
    """Patients of one part of a set: of the split file, or of the set's own split (M&Ms)."""
    if dataset == "mnms":
        return mnms.patients(data, part)
    return split.patients(dataset, part)


def slices_by_patient(
    data: Path, dataset: str, part: Part, left_out: Callable[[str, str], None]
) -> Iterator[tuple[LabelledSlice, ...]]:
    """Labelled slices of each patient of one part of a set, for measuring; none without the set.

    A patient that cannot be used is told to `left_out` with the reason, and the rest go on.
    """
    if dataset in _SYNTHETIC:
        hearts = groupby(_SYNTHETIC[dataset](part), lambda entry: entry.patient)
        yield from (tuple(slices) for _, slices in hearts)
    elif is_there(data, dataset):
        adapter = ADAPTERS[dataset]
        names = patients(data, dataset, part)
        yield from usable(names, lambda name: tuple(adapter(data, (name,))), left_out)


def fitting_slices(data: Path, dataset: str, part: Part) -> Iterator[LabelledSlice]:
    """Labelled slices of one set for fitting ("train") or for choosing ("validation").

    A patient that cannot be used is named in the log with the reason, and the rest go on.

    Parameters
    ----------
    data : Path
        Folder that holds the sets.
    dataset : str
        One of `SETS`.
    part : {"train", "validation"}

    Raises
    ------
    SplitError
        A test patient or one that is never fitted would take part.
    """
    if part == "test":
        raise SplitError(f"not for fitting: the test patients of '{dataset}'")
    if dataset in split.sets():
        split.refuse_unfit(dataset, patients(data, dataset, part))
    for slices in slices_by_patient(data, dataset, part, logged(dataset)):
        yield from slices


def prepare_refit(data: Path, output: Path, sets: tuple[str, ...]) -> None:
    """Array files whose training part holds every patient but those that are never fitted.

    For weights that ship after their figures were taken with the test patients held out: there is
    no patient of these sets left to measure them on. Sets that the split file does not cover keep
    their parts.

    Raises
    ------
    SplitError
        The split file covers none of the sets; a patient that is never fitted would take part.
    """
    if not set(sets) & set(split.sets()):
        raise SplitError(f"the split file covers none of these sets: {', '.join(sets)}")
    for dataset in (name for name in sets if name in split.sets()):
        path = output / f"{dataset}-train.npz"
        if path.is_file() or not is_there(data, dataset):
            continue
        parts = (slices_by_patient(data, dataset, part, logged(dataset)) for part in split.PARTS)
        slices = tuple(entry for patients in parts for found in patients for entry in found)
        forbidden = {entry.patient for entry in slices} & split.never_fitted()
        if forbidden:
            raise SplitError(f"not for fitting: {', '.join(sorted(forbidden))}")
        write_slices(path, slices)


def prepare(
    data: Path, output: Path, part: Part, sets: tuple[str, ...] = SETS
) -> tuple[LabelledSlice, ...]:
    """Labelled slices of one part, through array files below `output` that are kept.

    A set that is not below `data`, or is not one of `SLICE_SETS`, is left out.
    """
    slices: list[LabelledSlice] = []
    for dataset in (name for name in sets if name in SLICE_SETS):
        path = output / f"{dataset}-{part}.npz"
        if not path.is_file():
            if not is_there(data, dataset):
                continue
            found = tuple(fitting_slices(data, dataset, part))
            if not found:
                continue
            write_slices(path, found)
        slices.extend(read_slices(path))
    return tuple(slices)
