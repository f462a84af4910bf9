"""Labelled cases that every adapter gives, and what becomes of those that cannot be used."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import numpy.typing as npt
import structlog

from config.errors import PermanentError

log = structlog.get_logger()

Value = TypeVar("Value")


class CaseError(PermanentError):
    """A case of a labelled set that cannot be used; the message says why, and what is at fault."""


@dataclass(frozen=True, slots=True)
class LabelledVolume:
    """ED or ES volume, or LGE stack, of one patient.

    Attributes
    ----------
    images : float32 [z, y, x]
    labels : uint8 [z, y, x]
        0 background, 1 LV cavity, 2 LV myocardium, 3 RV cavity; of LGE as the adapter says.
    pixel_spacing_mm : (row_mm, column_mm)
    slice_spacing_mm : float
    patient, phase : str
        Phase is "ed", "es" or "lge".
    group : str
        Diagnosis or scanner as the set names it; empty where it names none.
    spacing_is_known : bool
        False where the set states no spacing and one is assumed.
    """

    images: npt.NDArray[np.float32]
    labels: npt.NDArray[np.uint8]
    pixel_spacing_mm: tuple[float, float]
    slice_spacing_mm: float
    patient: str
    phase: str
    group: str = ""
    spacing_is_known: bool = True


@dataclass(frozen=True, slots=True)
class LabelledCine:
    """A whole cine whose ED and ES are known.

    Attributes
    ----------
    frames : float32 [t, z, y, x]
    pixel_spacing_mm : (row_mm, column_mm)
    slice_spacing_mm : float
    ed, es : int
        Zero-based frames.
    patient, group : str
    """

    frames: npt.NDArray[np.float32]
    pixel_spacing_mm: tuple[float, float]
    slice_spacing_mm: float
    ed: int
    es: int
    patient: str
    group: str = ""


def logged(dataset: str) -> Callable[[str, str], None]:
    """What `usable` tells of a set's patients goes to the log."""

    def left_out(name: str, reason: str) -> None:
        log.warning("patient left out", dataset=dataset, patient=name, reason=reason)

    return left_out


def usable(
    names: Iterable[str], read: Callable[[str], Value], left_out: Callable[[str, str], None]
) -> Iterator[Value]:
    """Read cases one by one; a case that cannot be used is named with its reason, the rest go on.

    Parameters
    ----------
    names : iterable of str
    read : callable
        Raises `CaseError` for a case of no use.
    left_out : callable
        Told the name and the reason of each such case.
    """
    for name in names:
        try:
            value = read(name)
        except CaseError as error:
            left_out(name, str(error))
            continue
        yield value
