"""The sheet says what the record says, where a ruler would find it; the preparation cuts it out."""

import numpy as np
import pytest

from models.ecg_leads import LEADS
from models.ecg_sheet import PLAIN, SheetStyle, draw_sheet, prepared

HZ = 500
WHITE = SheetStyle(paper=(255,) * 3, thin=(255,) * 3, thick=(255,) * 3, ink=(0,) * 3)
LEFT_MM = 24
COLUMN_MM = 62.5


def flat(seconds=10.0):
    return np.zeros((12, round(seconds * HZ)), np.float32)


def inked(sheet):
    return sheet.sum(axis=2) < 300


def lines_mm(row):
    """Baseline of a row: four rows share the height between the two cuts."""
    return 42 + (row + 0.5) * (210 * 0.73) / 4


def heights_mm(sheet, row, from_mm, to_mm):
    """Highest and lowest ink above the line of a row, between two places along the paper."""
    dots = PLAIN.dots_per_mm
    base = lines_mm(row) * dots
    part = inked(sheet)[
        int(base - 13 * dots) : int(base + 13 * dots), int(from_mm * dots) : int(to_mm * dots)
    ]
    rows = np.nonzero(part.any(axis=1))[0] - 13 * dots
    return -rows.min() / dots, -rows.max() / dots


@pytest.mark.parametrize(
    ("lead", "row", "column"),
    [("I", 0, 0), ("aVR", 0, 1), ("V1", 0, 2), ("V4", 0, 3), ("II", 1, 0), ("aVL", 1, 1),
     ("V2", 1, 2), ("V5", 1, 3), ("III", 2, 0), ("aVF", 2, 1), ("V3", 2, 2), ("V6", 2, 3)],
)  # fmt: skip
def test_a_millivolt_is_ten_millimetres_in_its_lead_alone(lead, row, column):
    record = flat()
    start = round((2.5 * column + 1.2) * HZ)
    record[LEADS.index(lead), start : start + 20] = 1.0
    sheet = draw_sheet(record, HZ, style=WHITE)
    plain = draw_sheet(flat(), HZ, style=WHITE)
    place = LEFT_MM + column * COLUMN_MM + 30
    assert heights_mm(sheet, row, place - 3, place + 5)[0] == pytest.approx(10, abs=0.5)
    changed = np.nonzero((sheet != plain).any(axis=2))
    columns = changed[1] / PLAIN.dots_per_mm
    assert place - 1 < columns.min() < columns.max() < place + 3
    in_strip = changed[0] / PLAIN.dots_per_mm > lines_mm(3) - 12
    assert in_strip.any() == (lead == "II")


def test_negative_waves_go_down_and_time_runs_at_25_mm_a_second():
    record = flat()
    record[LEADS.index("II"), 8 * HZ : 8 * HZ + 50] = -1.0
    sheet = draw_sheet(record, HZ, style=WHITE)
    assert heights_mm(sheet, 3, LEFT_MM + 198, LEFT_MM + 207)[1] == pytest.approx(-10, abs=0.5)
    assert heights_mm(sheet, 3, LEFT_MM + 190, LEFT_MM + 199)[1] == pytest.approx(0, abs=0.5)


def test_the_rate_and_an_offset_of_a_lead_change_nothing_on_paper():
    times = np.arange(10 * HZ) / HZ
    wave = np.sin(2 * np.pi * times).astype(np.float32)
    record = np.stack([wave] * 12)
    slow = record[:, ::2]
    first = draw_sheet(record, HZ, style=WHITE)
    assert np.array_equal(first, draw_sheet(record + 3.0, HZ, style=WHITE))
    other = draw_sheet(slow, HZ / 2, style=WHITE)
    assert (inked(first) != inked(other)).mean() < 0.25 * inked(first).mean()


def test_paper_has_thick_lines_at_every_fifth_millimetre_and_a_pulse_of_one_millivolt():
    sheet = draw_sheet(flat(), HZ)
    dots = PLAIN.dots_per_mm
    row = sheet[int(207.5 * dots)]
    assert (row[int(100 * dots)] == PLAIN.thick).all()
    assert (row[int(101 * dots)] == PLAIN.thin).all()
    assert (row[int(101.5 * dots)] == PLAIN.paper).all()
    assert heights_mm(sheet, 2, 18, 22.4)[0] == pytest.approx(10, abs=0.5)
    assert sheet.shape == (1050, 1485, 3)


def test_the_head_lies_in_what_is_cut_off():
    named = draw_sheet(flat(), HZ, head=("A NAME", "a comment", "another"))
    unnamed = draw_sheet(flat(), HZ)
    assert not np.array_equal(named, unnamed)
    assert np.array_equal(prepared(named), prepared(unnamed))


def test_prepared_is_the_inner_part_on_the_statistics_of_imagenet():
    sheet = np.zeros((1000, 1400, 3), np.uint8)
    sheet[200:930] = 255
    found = prepared(sheet)
    assert found.shape == (3, 227, 227)
    assert found.dtype == np.float32
    white = [
        (1 - mean) / deviation
        for mean, deviation in ((0.485, 0.229), (0.456, 0.224), (0.406, 0.225))
    ]
    np.testing.assert_allclose(found[:, 100, 100], white, rtol=1e-5)
    assert np.ptp(found, axis=(1, 2)).max() < 1e-5
    sheet[930] = 0
    sheet[199] = 9
    np.testing.assert_array_equal(prepared(sheet), found)


def test_resampling_is_smoothed_and_keeps_its_colours_apart():
    sheet = np.full((2000, 2800, 3), 255, np.uint8)
    sheet[:, ::2, 0] = 0
    red, green, _ = prepared(sheet)
    assert np.ptp(red) < 0.2  # black and white lie four apart
    assert float(red.mean()) == pytest.approx((0.5 - 0.485) / 0.229, abs=0.05)
    assert float(green.mean()) == pytest.approx((1 - 0.456) / 0.224, abs=1e-4)


@pytest.mark.parametrize("record", [flat()[:11], flat() * np.nan, flat()[0]])
def test_what_is_no_record_is_not_drawn(record):
    with pytest.raises(ValueError, match="twelve leads"):
        draw_sheet(record, HZ)
