"""What lies below the paths that a command is given."""

import os
from collections.abc import Iterable, Iterator
from pathlib import Path


def walk(paths: Iterable[Path]) -> Iterator[Path]:
    """Files below `paths`, and the folders that are not looked into: links, and closed ones."""
    for path in paths:
        if not path.is_dir():
            yield path
            continue
        closed: list[OSError] = []
        for folder, subfolders, names in os.walk(path, onerror=closed.append):
            subfolders.sort()
            links = [name for name in subfolders if (Path(folder) / name).is_symlink()]
            yield from (Path(folder) / name for name in sorted([*names, *links]))
        yield from (Path(error.filename) for error in closed)


def printable_name(path: Path) -> str:
    """Name of a file as text; what is no UTF-8 in it, as on older discs, as a question mark."""
    return path.name.encode(errors="replace").decode()
