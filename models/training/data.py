"""From the labelled sets to the array files that training reads, one per set and part."""

from collections.abc import Callable, Iterator
from pathlib import Path

from models.split import Part, patients, refuse_unfit
from models.training.acdc import acdc_slices
from models.training.slices import LabelledSlice, read_slices, write_slices
from models.training.sunnybrook import sunnybrook_slices
from models.training.synthetic import synthetic_slices

ADAPTERS: dict[str, Callable[[Path, tuple[str, ...]], Iterator[LabelledSlice]]] = {
    "acdc": acdc_slices,
    "sunnybrook": sunnybrook_slices,
}
SETS = (*ADAPTERS, "synthetic")


def fitting_slices(data: Path, dataset: str, part: Part) -> Iterator[LabelledSlice]:
    """Labelled slices of one set for fitting ("train") or for choosing ("validation").

    Parameters
    ----------
    data : Path
        Folder that holds `acdc` and `sunnybrook`.
    dataset : str
        One of `SETS`.
    part : {"train", "validation"}

    Raises
    ------
    SplitError
        A test patient or one that is never fitted would take part.
    """
    if dataset == "synthetic":
        yield from synthetic_slices(part)
        return
    names = patients(dataset, part)
    refuse_unfit(dataset, names)
    yield from ADAPTERS[dataset](data, names)


def prepare(
    data: Path, output: Path, part: Part, sets: tuple[str, ...] = SETS
) -> tuple[LabelledSlice, ...]:
    """Labelled slices of one part, through array files below `output` that are kept.

    A set that is not below `data` is left out.
    """
    slices: list[LabelledSlice] = []
    for dataset in sets:
        path = output / f"{dataset}-{part}.npz"
        if not path.is_file():
            if dataset in ADAPTERS and not (data / dataset).is_dir():
                continue
            write_slices(path, fitting_slices(data, dataset, part))
        slices.extend(read_slices(path))
    return tuple(slices)
