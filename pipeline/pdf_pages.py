"""The pages of a PDF as pictures, drawn by PDFium in a process that is held to limits."""

import subprocess
import sys
from pathlib import Path

import numpy as np

from pipeline import pdf_renderer
from pipeline.case import UInt8
from pipeline.errors import Rejection

_MOST_BYTES = 64 * 2**20
_MOST_PAGES = 10
_END_WITHIN_BYTES = 1024
_MEMORY_BYTES = 2**30  # of addresses; a scan of A4 at 600 dpi takes about 0.3
_PROCESSOR_S = 20  # pages of ECGs take less than one
_WAIT_S = 300.0  # a machine that does nothing else for so long has another fault


def pdf_pages(document: bytes, side: int, sop_instance_uid: str) -> list[UInt8]:
    """Draw every page on white.

    Parameters
    ----------
    document : bytes
        A PDF; bytes of 0 that follow its end are ignored.
    side : int
        Pixels of the longer side of each page, whatever size the page states.
    sop_instance_uid : str
        Named in the rejection.

    Returns
    -------
    list of uint8 [y, x, 3]
        Red, green, blue.

    Raises
    ------
    Rejection
        ``pdf_encrypted``: it opens with a password alone; ``pdf_unreadable``: empty, cut, damaged,
        or too many pages; ``pdf_too_costly``: too large, or more memory or time than pages need.
    OSError
        It cannot be drawn now.
    """
    if len(document) > _MOST_BYTES:
        reason = f"its PDF of {len(document) >> 20} MiB is larger than {_MOST_BYTES >> 20}"
        raise Rejection("pdf_too_costly", reason, sop_instance_uid)
    if b"%%EOF" not in document.rstrip(b"\0")[-_END_WITHIN_BYTES:]:
        # PDFium would draw what is left, be it half a sheet.
        raise Rejection("pdf_unreadable", "its PDF has no end, or is none", sop_instance_uid)
    limits = (_MOST_PAGES, side, _MEMORY_BYTES, _PROCESSOR_S)
    # -P: of this room nothing is to stand in for a module of the library.
    command = [sys.executable, "-P", str(Path(pdf_renderer.__file__)), *map(str, limits)]
    try:
        done = subprocess.run(
            command, input=document, capture_output=True, timeout=_WAIT_S, check=False
        )
    except subprocess.TimeoutExpired as late:
        raise TimeoutError(f"a PDF was not drawn within {_WAIT_S:g} s") from late
    said, _, pages = done.stdout.partition(b"\n")
    if done.returncode < 0 or b"MemoryError" in done.stderr:
        limits_said = f"{_MEMORY_BYTES >> 20} MiB and {_PROCESSOR_S} s"
        reason = f"its PDF cannot be drawn within {limits_said}, or breaks what draws it"
        raise Rejection("pdf_too_costly", reason, sop_instance_uid)
    if done.returncode > 0:
        raise RuntimeError(f"PDFs cannot be drawn here: {done.stderr.decode()[-500:]}")
    if said == b"encrypted":
        raise Rejection("pdf_encrypted", "its PDF opens with a password alone", sop_instance_uid)
    if said != b"drawn":
        raise Rejection("pdf_unreadable", f"its PDF: {said.decode()}", sop_instance_uid)
    return _pictures(pages)


def _pictures(content: bytes) -> list[UInt8]:
    pictures, at = [], 0
    while at < len(content):
        width, height = pdf_renderer.PAGE.unpack_from(content, at)
        at += pdf_renderer.PAGE.size
        pixels = np.frombuffer(content, np.uint8, 3 * width * height, at)
        pictures.append(pixels.reshape(height, width, 3))
        at += pixels.size
    return pictures
