"""The one committed split of the labelled patients, shared by every model for good."""

import json
import zlib
from collections.abc import Iterable
from functools import cache
from importlib.resources import files
from typing import Literal

from config.errors import PermanentError

Part = Literal["train", "validation", "test"]
PARTS: tuple[Part, ...] = ("train", "validation", "test")


class SplitError(PermanentError):
    """A patient or a set that the split does not allow for the purpose asked."""


@cache
def _document() -> dict[str, object]:
    text = files("models").joinpath("split.json").read_text(encoding="utf-8")
    document: dict[str, object] = json.loads(text)
    return document


def never_fitted() -> frozenset[str]:
    """Patients that no model is ever fitted or tuned on, under all names they go by."""
    names = _document()["never_fitted"]
    return frozenset(names if isinstance(names, list) else ())


def sets() -> tuple[str, ...]:
    """Names of the data sets that the split covers."""
    document = _document()["sets"]
    return tuple(document) if isinstance(document, dict) else ()


def patients(dataset: str, part: Part) -> tuple[str, ...]:
    """Patients of one part of a data set, sorted.

    Parameters
    ----------
    dataset : str
        One of `sets()`.
    part : {"train", "validation", "test"}

    Raises
    ------
    SplitError
        The split does not know the set.
    """
    document = _document()["sets"]
    if not isinstance(document, dict) or dataset not in document:
        raise SplitError(f"no data set '{dataset}' in the split; known: {', '.join(sets())}")
    return tuple(sorted(document[dataset][part]))


def refuse_unfit(dataset: str, names: Iterable[str]) -> None:
    """Refuse patients that must not take part in fitting.

    Raises
    ------
    SplitError
        One of them is a test patient of the set, or is never fitted.
    """
    forbidden = set(names) & (never_fitted() | set(patients(dataset, "test")))
    if forbidden:
        raise SplitError(f"not for fitting: {', '.join(sorted(forbidden))}")


def part_of_name(name: str) -> Part:
    """Part of a patient of a set that the split file does not list, from the name alone.

    About one name in ten is for validation, three are for the test: the CRC-32 of the name (UTF-8)
    modulo 10 is 0 for validation, 1, 2 or 3 for the test.
    """
    place = zlib.crc32(name.encode("utf-8")) % 10
    if place == 0:
        return "validation"
    return "test" if place <= 3 else "train"
