"""The sets of perfusion pictures that a classifier learns from: folders of pictures, and synthetic.

Pictures of displays lie below `perfusion_images` of the data folder, in folders whose name says
the class (`Normal`, `IschemiaCrop`, ...). The name of a file begins with that of the patient,
before the first `_`; all views of a patient are of one class and stay in the part that
`models.split.part_of_name` gives the patient. Burned-in lettering is taken away as in service
(`models.spect_sheet.without_small_marks`).
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from glob import escape
from pathlib import Path

import numpy as np

from models.spect_axis import LEAST_LIKENESS, find_left_ventricle
from models.spect_sheet import UInt8, sheet, without_small_marks
from models.split import Part, SplitError, part_of_name
from models.synthetic.perfusion import KINDS
from models.synthetic.spect import synthesise_spect
from models.training.case_file import kept_cases
from models.training.cases import CaseError, logged, usable

_FOLDER = "perfusion_images"
_SUFFIXES = (".png", ".jpg", ".jpeg")
_WIDEST = 640  # pixels of a picture that are kept


@dataclass(frozen=True, slots=True)
class PerfusionPicture:
    """A sheet, or the picture of a display, whose class is known.

    Attributes
    ----------
    label : int
        Index in `models.synthetic.perfusion.KINDS`.
    dataset, patient : str
    picture : uint8 [y, x, 3]
    group : str
        Territory of the defect, where it is known.
    """

    label: int
    dataset: str
    patient: str
    picture: UInt8
    group: str = ""


def pictures_are_there(data: Path) -> bool:
    """Whether folders of pictures lie below a data folder."""
    return (data / _FOLDER).is_dir()


SPECT_SETS: Mapping[str, Callable[[Path], bool]] = {
    _FOLDER: pictures_are_there,
    "synthetic_spect": lambda _: True,
}
"""Each set, and whether it can be had of a data folder."""
SEEDS: Mapping[Part, range] = {
    "train": range(10_000, 10_800),
    "validation": range(20_000, 20_100),
    "test": range(30_000, 30_200),
}


def spect_cases(
    data: Path, dataset: str, part: Part, left_out: Callable[[str, str], None]
) -> Iterator[PerfusionPicture]:
    """Pictures of one part of a set of `SPECT_SETS`; what is of no use is told to `left_out`."""
    if dataset == "synthetic_spect":
        yield from usable(map(str, SEEDS[part]), _synthetic, left_out)
    elif pictures_are_there(data):
        yield from usable(_picture_names(data, part), partial(_read_picture, data), left_out)


def _synthetic(seed: str) -> PerfusionPicture:
    """The sheet of a seed, each view about the left ventricle that is found in it as in service."""
    study = synthesise_spect(int(seed))
    views = []
    for tomogram in (study.stress, study.rest):
        found = find_left_ventricle(tomogram)
        if found is None or found.likeness < LEAST_LIKENESS:
            raise CaseError("the left ventricle is not found in it")
        views.append((tomogram, found))
    return PerfusionPicture(
        label=KINDS.index(study.kind),
        dataset="synthetic_spect",
        patient=f"synthetic-{seed}",
        picture=sheet(*views),
        group=str(study.truth.get("territory", "")),
    )


def _picture_names(data: Path, part: Part) -> tuple[str, ...]:
    """Paths of the pictures of a part, relative to their folder, sorted."""
    root = data / _FOLDER
    found = (path for path in root.glob("*/*") if path.suffix.lower() in _SUFFIXES)
    names = sorted(path.relative_to(root).as_posix() for path in found)
    return tuple(name for name in names if part_of_name(_patient(name)) == part)


def _patient(name: str) -> str:
    return Path(name).stem.split("_", maxsplit=1)[0]


def _label(name: str) -> int | None:
    folder = name.split("/", maxsplit=1)[0].lower()
    found = [label for label, kind in enumerate(KINDS) if kind in folder]
    return found[0] if len(found) == 1 else None


def _read_picture(data: Path, name: str) -> PerfusionPicture:
    """Read a picture.

    Raises
    ------
    CaseError
        It cannot be read or shows nothing but marks, its folder names no class, or its patient lies
        in the folders of two.
    """
    from PIL import Image

    label, patient = _label(name), _patient(name)
    if label is None:
        raise CaseError("its folder names none of the classes, or two")
    root = data / _FOLDER
    others = (path.relative_to(root).as_posix() for path in root.glob(f"*/{escape(patient)}*"))
    if any(_label(other) != label for other in others if _patient(other) == patient):
        raise CaseError("its patient lies in the folders of two classes")
    try:
        with Image.open(root / name) as image:
            picture = without_small_marks(np.asarray(image.convert("RGB")))
        small = Image.fromarray(picture)
        small.thumbnail((_WIDEST, _WIDEST), Image.Resampling.BILINEAR)
    except (OSError, ValueError) as error:
        raise CaseError(f"it cannot be used ({error})") from error
    return PerfusionPicture(label, _FOLDER, patient, np.asarray(small))


def prepare_spect(
    data: Path, output: Path, part: Part, sets: tuple[str, ...]
) -> tuple[PerfusionPicture, ...]:
    """Pictures of one part for fitting, through array files `<set>-<part>-spect.npz` that are kept.

    Raises
    ------
    SplitError
        The test part is asked for.
    """
    if part == "test":
        raise SplitError("not for fitting: the test part of perfusion")
    found: list[PerfusionPicture] = []
    for dataset in (name for name in SPECT_SETS if name in sets):
        path = output / f"{dataset}-{part}-spect.npz"
        cases = spect_cases(data, dataset, part, logged(dataset))
        found.extend(kept_cases(path, PerfusionPicture, cases))
    return tuple(found)
