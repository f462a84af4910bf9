"""Array files of cases of uneven size: dataclasses in, the same dataclasses out."""

import json
from collections.abc import Iterable
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

Case = TypeVar("Case", bound="DataclassInstance")


def write_cases(path: Path, cases: Iterable["DataclassInstance"]) -> None:
    """Write flat dataclasses of arrays, numbers, strings and tuples to one npz without pickle."""
    arrays: dict[str, Any] = {}
    notes: list[dict[str, Any]] = []
    for index, case in enumerate(cases):
        values = {entry.name: getattr(case, entry.name) for entry in fields(case)}
        large = {name for name, value in values.items() if isinstance(value, np.ndarray)}
        arrays |= {f"{index}_{name}": values.pop(name) for name in large}
        notes.append(values)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial.npz")
    np.savez_compressed(partial, notes=np.array(json.dumps(notes)), **arrays)
    partial.replace(path)


def read_cases(path: Path, kind: type[Case]) -> tuple[Case, ...]:
    """Read back cases of one kind that `write_cases` wrote."""
    with path.open("rb") as stream:
        stored = np.load(stream, allow_pickle=False)
        arrays = {name: stored[name] for name in stored.files}
    notes: list[dict[str, Any]] = json.loads(str(arrays.pop("notes")))
    for name, array in arrays.items():
        index, _, field = name.partition("_")
        notes[int(index)][field] = array
    return tuple(kind(**{name: _frozen(value) for name, value in note.items()}) for note in notes)


def kept_cases(
    path: Path, kind: type[Case], cases: Iterable["DataclassInstance"]
) -> tuple[Case, ...]:
    """Cases through an array file: drawn and written where it is not there, unless there are none.

    `cases` is not touched where the file is there.
    """
    if not path.is_file():
        made = list(cases)
        if not made:
            return ()
        write_cases(path, made)
    return read_cases(path, kind)


def _frozen(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value
