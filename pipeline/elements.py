"""Tolerant reading of DICOM elements: what breaks its representation is absent, not an error."""

import math
import re
import struct
import threading
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from pydicom import Dataset
from pydicom.charset import python_encoding
from pydicom.errors import BytesLengthException, InvalidDicomError
from pydicom.tag import Tag

Triple = tuple[float, float, float]
Pair = tuple[float, float]

_CLOCK = re.compile(r"(\d{2}):?(\d{2})?:?(\d{2})?(\.\d{1,6})?")

# What pydicom is known to raise at bytes that are no data set.
UNREADABLE = (
    BytesLengthException,
    InvalidDicomError,
    ArithmeticError,
    AttributeError,
    EOFError,
    LookupError,
    OSError,
    RuntimeError,
    TypeError,
    ValueError,
    struct.error,
    zlib.error,
)
_quiet_lock = threading.RLock()
# Latin alphabet No. 9 (PS3.3 C.12.1.1.2), which pydicom 3.0 reads as No. 1 without a word.
python_encoding.setdefault("ISO_IR 203", "iso8859_15")


@contextmanager
def quiet_pydicom() -> Iterator[None]:
    """Silence pydicom's warnings of values that break their representation.

    The warning filters belong to the whole process; the lock keeps two threads from restoring
    each other's.
    """
    with _quiet_lock, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


class Reader:
    """Tolerant access to the elements of one (nested) data set."""

    def __init__(self, dataset: Dataset, encoding: str | None = None) -> None:
        self._dataset = dataset
        declared = dataset.original_character_set
        first = declared if isinstance(declared, str) else (declared or ["latin_1"])[0]
        self._encoding = encoding or first or "latin_1"

    def _bytes(self, keyword: str) -> tuple[bytes, bool]:
        """Value of an element as encoded, and whether little endian; empty when absent."""
        tag = Tag(keyword)
        if tag not in self._dataset:
            return b"", True
        element = self._dataset.get_item(tag)
        value = element.value
        little = getattr(element, "is_little_endian", True)
        return (value if isinstance(value, bytes) else b""), little

    def text(self, keyword: str) -> str:
        """Decoded text without padding; empty when absent."""
        value = self._bytes(keyword)[0]
        return value.decode(self._encoding, errors="replace").strip(" \0\r\n\t")

    def texts(self, keyword: str) -> tuple[str, ...]:
        """Values of a text with several; none when absent."""
        text = self.text(keyword)
        return tuple(part.strip() for part in text.split("\\")) if text else ()

    def decimals(self, keyword: str, count: int) -> tuple[float, ...] | None:
        """DS values; None unless there are `count` finite ones."""
        try:
            values = tuple(float(part) for part in self.texts(keyword))
        except ValueError:
            return None
        return values if len(values) == count and all(map(math.isfinite, values)) else None

    def decimal(self, keyword: str) -> float | None:
        """One DS value; None when absent, several or no number."""
        values = self.decimals(keyword, 1)
        return values[0] if values else None

    def integer(self, keyword: str) -> int | None:
        """One IS value; None when absent, several or not whole."""
        value = self.decimal(keyword)
        return int(value) if value is not None and value == int(value) else None

    def binary(self, keyword: str, code: str) -> Any:
        """One number of VR US, UL or FD (struct code H, L or d); None when absent."""
        value, little = self._bytes(keyword)
        packed = struct.Struct(("<" if little else ">") + code)
        return packed.unpack_from(value)[0] if len(value) >= packed.size else None

    def items(self, keyword: str) -> list["Reader"]:
        """Items of a sequence; none when absent or empty."""
        tag = Tag(keyword)
        if tag not in self._dataset:
            return []
        return [Reader(item, self._encoding) for item in self._dataset[tag].value or ()]


def finite(value: float | None) -> float | None:
    """Return the number, or None for an infinite one or none."""
    return value if value is not None and math.isfinite(value) else None


def triple(values: tuple[float, ...] | None) -> Triple | None:
    """Return three numbers as such, or None."""
    return (values[0], values[1], values[2]) if values else None


def pair(values: tuple[float, ...] | None) -> Pair | None:
    """Return two numbers as such, or None."""
    return (values[0], values[1]) if values else None


def time_of_day_ms(text: str) -> float | None:
    """Time of day of a TM value (PS3.5 6.2), in ms."""
    match = _CLOCK.match(text)
    if match is None:
        return None
    hours, minutes, seconds, fraction = (float(part or 0) for part in match.groups())
    return ((hours * 60 + minutes) * 60 + seconds + fraction) * 1000
