"""Addresses of peers, delays between attempts, and statuses in words."""

import errno

import pytest
from hypothesis import given
from hypothesis import strategies as st

from config.errors import PermanentError, TransientError
from dicom_node.dimse import StoreRefused, is_stored, is_warning, refusal_of, response, status_text
from dicom_node.errors import InvalidAddress
from dicom_node.peer import PeerAddress, parse_address
from dicom_node.send import next_delay


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("PACS@10.0.0.5:104", PeerAddress("PACS", "10.0.0.5", 104)),
        ("MY PACS@pacs.example.org:11112", PeerAddress("MY PACS", "pacs.example.org", 11112)),
        ("A@B@host:1", PeerAddress("A@B", "host", 1)),
        ("PACS@[::1]:104", PeerAddress("PACS", "::1", 104)),
    ],
)
def test_address(text: str, expected: PeerAddress) -> None:
    assert parse_address(text) == expected
    assert str(expected) == text


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("10.0.0.5:104", "AET@HOST:PORT"),
        ("PACS@host", "AET@HOST:PORT"),
        ("@host:104", "AET@HOST:PORT"),
        ("PACS@:104", "AET@HOST:PORT"),
        ("PACS@host:", "AET@HOST:PORT"),
        ("PACS@host:dicom", "port is a number"),
        ("PACS@host:0", "port is a number"),
        ("PACS@host:65536", "port is a number"),
        ("SEVENTEEN_LETTERS@host:104", "16 printable"),
        ("A\\B@host:104", "16 printable"),
    ],
)
def test_malformed_address(text: str, message: str) -> None:
    with pytest.raises(InvalidAddress, match=message):
        parse_address(text)


def test_delays_double_up_to_the_longest() -> None:
    assert [next_delay(attempt, 10, 100) for attempt in range(1, 7)] == [10, 20, 40, 80, 100, 100]


@given(st.integers(1, 10**6), st.floats(0.1, 100), st.floats(100, 10**6))
def test_delays_stay_within_bounds(attempt: int, first_s: float, max_s: float) -> None:
    assert first_s <= next_delay(attempt, first_s, max_s) <= max_s
    assert next_delay(attempt, first_s, max_s) <= next_delay(attempt + 1, first_s, max_s)


@pytest.mark.parametrize(
    ("status", "stored", "text"),
    [
        (0x0000, True, "0x0000 Success"),
        (0xB000, True, "0xB000 Warning: Coercion of Data Elements"),
        (0xB123, True, "0xB123 Warning: not in the Standard's list"),
        (0xA700, False, "0xA700 Failure: Refused: Out of Resources"),
        (0xC000, False, "0xC000 Failure: Cannot Understand"),
        (0x0122, False, "0x0122 Failure: Refused: SOP Class Not Supported"),
        (0xFF00, False, "0xFF00 Pending"),
        (0x1234, False, "0x1234 Unknown"),
    ],
)
def test_what_a_status_means(status: int, stored: bool, text: str) -> None:
    assert is_stored(status) is stored
    assert is_warning(status) is text.startswith(f"0x{status:04X} Warning")
    assert status_text(status).startswith(text)


@pytest.mark.parametrize(
    ("error", "status", "reason", "is_fault"),
    [
        (StoreRefused(0xA900, "mismatch"), 0xA900, "mismatch", False),
        (TransientError("disk is full"), 0xA700, "disk is full", False),
        (PermanentError("unreadable"), 0xC000, "unreadable", False),
        (OSError(errno.EIO, "x"), 0xA700, "EIO", False),
        (OSError("no number"), 0xA700, "OSError", False),
        (KeyError("Doe^John"), 0xC000, "a fault in the node", True),
    ],
)
def test_what_goes_wrong_is_answered(
    error: Exception, status: int, reason: str, is_fault: bool
) -> None:
    refusal = refusal_of(error)
    assert (refusal.status, refusal.is_fault) == (status, is_fault)
    assert reason in refusal.reason
    assert "Doe" not in refusal.reason


def test_comment_fits_its_value_representation() -> None:
    comment = response(0xC000, "back\\slash Grüße " + "x" * 100).ErrorComment
    assert len(comment) == 64
    assert comment.startswith("back/slash Gr??e x")
