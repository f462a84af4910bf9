"""A scan stays a legible sheet, differs each time, and repeats with its draw."""

import numpy as np

from models.ecg_sheet import draw_sheet, prepared
from models.synthetic.ecg import synthesise_ecg
from models.training.paper import random_style, scanned


def sheet(rng):
    drawn = synthesise_ecg(1)
    return draw_sheet(drawn.leads, drawn.hz, style=random_style(rng))


def test_the_same_draw_gives_the_same_scan_and_another_another():
    pictures = [sheet(np.random.default_rng(3)) for _ in range(2)]
    same = [scanned(pictures[0], np.random.default_rng(5)) for _ in range(2)]
    assert np.array_equal(*pictures)
    assert np.array_equal(*same)
    assert not np.array_equal(same[0], scanned(pictures[0], np.random.default_rng(6)))


def test_a_scan_has_the_size_of_its_sheet_and_is_still_legible():
    correlations = []
    for seed in range(12):
        rng = np.random.default_rng(seed)
        plain = sheet(rng)
        taken = scanned(plain, rng)
        assert taken.shape == plain.shape
        assert taken.dtype == np.uint8
        dark = [255 - picture.astype(float).mean(axis=2) for picture in (plain, taken)]
        assert np.ptp(dark[1]) > 80  # the trace is still darker than its paper
        correlations.append(np.corrcoef(prepared(plain).ravel(), prepared(taken).ravel())[0, 1])
    assert min(correlations) < 0.9  # it was moved and lit
    assert np.median(correlations) > 0.0


def test_what_a_scan_moves_stays_near():
    """A dark spot in the middle lies within a tenth of the width of it afterwards."""
    plain = np.full((400, 560, 3), 250, np.uint8)
    plain[190:210, 270:290] = 0
    for seed in range(20):
        taken = scanned(plain, np.random.default_rng(seed)).astype(float).mean(axis=2)
        rows, columns = np.nonzero(taken < taken.max() / 3)
        spot = (np.abs(rows - 200) < 60) & (np.abs(columns - 280) < 60)
        assert spot.any()
        assert abs(np.median(rows[spot]) - 200) < 40
        assert abs(np.median(columns[spot]) - 280) < 56


def test_printers_differ():
    styles = [random_style(np.random.default_rng(seed)) for seed in range(20)]
    assert len({style.thick for style in styles}) > 3
    assert len({style.dots_per_mm for style in styles}) == 20
