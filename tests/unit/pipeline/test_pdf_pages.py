"""Pages of PDFs as pictures: as they lie, and what is refused before it does harm."""

import resource
import subprocess
import sys
import time

import numpy as np
import pytest

from models.ecg_sheet import draw_sheet
from models.synthetic.ecg import synthesise_ecg
from pipeline import pdf_pages as drawing
from pipeline.errors import Rejection
from pipeline.pdf_pages import pdf_pages
from tests.unit.pipeline import pdfs

UID = "1.2.3"
SIDE = 601  # of which no row fills whole words


def pages(document):
    return pdf_pages(document, SIDE, UID)


def refused(document, code, words):
    with pytest.raises(Rejection, match=words) as caught:
        pages(document)
    assert (caught.value.code, caught.value.sop_instance_uid) == (code, UID)


def test_a_page_is_drawn_as_it_lies_in_its_colours():
    red_left_green_below = b"1 0 0 rg 0 0 421 595 re f 0 1 0 rg 421 0 421 100 re f"
    (page,) = pages(pdfs.raw_pdf(red_left_green_below))
    assert page.shape == (425, SIDE, 3)
    assert page.dtype == np.uint8
    assert page[200, 100].tolist() == [255, 0, 0]
    assert page[400, 500].tolist() == [0, 255, 0]
    assert page[200, 500].tolist() == [255, 255, 255]


def test_a_page_that_is_to_be_turned_is_turned():
    (page,) = pages(pdfs.raw_pdf(b"1 0 0 rg 0 0 421 595 re f", page=b"/Rotate 90"))
    assert page.shape == (SIDE, 425, 3)
    assert page[100, 200].tolist() == [255, 0, 0]
    assert page[500, 200].tolist() == [255, 255, 255]


def test_the_sheet_of_a_record_lies_where_the_node_draws_it():
    drawn = synthesise_ecg(3)
    own = draw_sheet(drawn.leads, drawn.hz)
    (page,) = pdf_pages(pdfs.ecg_pdf(3), own.shape[1], UID)
    ink = [picture[220:1000].mean(axis=-1) < 100 for picture in (own, page)]
    near = ink[1].copy()
    for axis in (0, 1):
        for step in (-2, -1, 1, 2):
            near |= np.roll(ink[1], step, axis)
    assert near[ink[0]].mean() > 0.9


def test_a_photograph_of_a_page_comes_back_as_it_is():
    drawn = synthesise_ecg(3)
    own = draw_sheet(drawn.leads, drawn.hz)
    (page,) = pdf_pages(pdfs.scan_pdf(own, 95), own.shape[1], UID)
    assert np.abs(page.astype(int) - own).mean() < 6


def test_every_page_is_drawn_in_order():
    across, upright = pdfs.letter_pdf(), pdfs.letter_pdf((8.27, 11.69))
    found = pages(pdfs.joined([across, upright, across]))
    assert [one.shape[0] > one.shape[1] for one in found] == [False, True, False]


@pytest.mark.parametrize("box", ["0 0 1e9 1e9", "0 0 0 0", "0 0 200000 100000", "0 0 14400 10"])
def test_no_size_that_a_page_states_makes_it_larger(box):
    (page,) = pages(pdfs.raw_pdf(box=box))
    assert max(page.shape) == SIDE


def test_padding_is_ignored():
    (page,) = pages(pdfs.raw_pdf() + b"\0" * 5000)
    assert page.shape == (425, SIDE, 3)


@pytest.mark.parametrize(
    "document",
    [b"", b"\0" * 1000, b"a letter", pdfs.raw_pdf()[:100], pdfs.ecg_pdf()[:20_000]],
    ids=["empty", "zeros", "text", "cut", "sheet cut"],
)
def test_what_is_no_whole_pdf_is_refused(document):
    refused(document, "pdf_unreadable", "no end, or is none")


def test_what_lost_its_beginning_is_refused():
    refused(pdfs.raw_pdf()[150:], "pdf_unreadable", "damaged, or no PDF")


def test_a_document_whose_later_part_was_lost_is_refused_though_it_could_be_drawn():
    whole = pdfs.raw_pdf(b"1 0 0 rg 0 0 842 595 re f")
    added = b"4 0 obj\n" + pdfs.stream(b"0 1 0 rg 0 0 842 595 re f") + b"\nendobj\n"
    end = b"trailer\n<</Root 1 0 R>>\n%%EOF\n"
    (page,) = pages(whole + added + end)
    assert page[200, 300].tolist() == [0, 255, 0]
    refused(whole + added + b"5 0 obj\n" + b"x" * 2000, "pdf_unreadable", "no end")


def test_a_password_is_named_as_the_reason():
    refused(pdfs.encrypted_pdf(), "pdf_encrypted", "password")


def test_a_document_of_many_pages_is_refused_with_their_number():
    ten = pdfs.joined([pdfs.raw_pdf()] * 10)
    assert len(pages(ten)) == 10
    refused(pdfs.joined([ten, pdfs.raw_pdf()]), "pdf_unreadable", "11 pages, more than 10")


def test_a_large_document_is_refused_unread():
    refused(b"%PDF-1.4" + bytes(64 * 2**20), "pdf_too_costly", "64 MiB is larger than 64")


def test_a_picture_that_unpacks_to_more_than_a_gigabyte_is_drawn_within_less():
    (page,) = pages(pdfs.picture_bomb(20_000))
    assert (page[10:-10, 10:-10] == 0).all()


def test_memory_without_end_is_refused(monkeypatch):
    monkeypatch.setattr(drawing, "_MEMORY_BYTES", 256 * 2**20)
    before = processor_s()
    refused(pdfs.endless_pdf(), "pdf_too_costly", "within 256 MiB")
    assert processor_s() - before < 10  # and not because of the time


def test_time_without_end_is_refused(monkeypatch):
    monkeypatch.setattr(drawing, "_PROCESSOR_S", 1)
    sheets = b"0 0 842 595 re f " * 40_000
    before = processor_s()
    refused(pdfs.raw_pdf(sheets), "pdf_too_costly", "and 1 s")
    assert processor_s() - before < 3


def processor_s():
    """What processes that were started and have ended took so far."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def test_lower_limits_that_hold_already_stay():
    code = (
        "import resource as r; r.setrlimit(r.RLIMIT_CPU, (9, 9))\n"
        "from pipeline.pdf_pages import pdf_pages\n"
        "from tests.unit.pipeline.pdfs import raw_pdf\n"
        "print(pdf_pages(raw_pdf(), 600, '1.2')[0].shape)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=False)
    assert done.stdout.strip() == b"(424, 600, 3)", done.stderr


def test_a_machine_that_does_nothing_for_long_is_no_fault_of_the_document(monkeypatch):
    monkeypatch.setattr(drawing, "_WAIT_S", 0.01)
    began = time.monotonic()
    with pytest.raises(OSError, match="not drawn within"):
        pages(pdfs.raw_pdf())
    assert time.monotonic() - began < 10


def test_without_the_library_no_document_is_called_damaged(monkeypatch, tmp_path):
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    (tmp_path / "pypdfium2.py").write_text("raise ImportError('not there')")
    with pytest.raises(RuntimeError, match="not there"):
        pages(pdfs.raw_pdf())


def test_the_node_itself_never_loads_the_library():
    code = "import sys, pipeline.analysis, dicom_node.cli; sys.exit('pypdfium2' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
