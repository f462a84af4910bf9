"""Late enhancement stacks and cases with known truth for the tests of their chain.

The segmenter is an oracle that holds the truth; intensities are those of a nulled wall with scar.
"""

from collections.abc import Mapping
from copy import deepcopy
from dataclasses import replace

import numpy as np

from config.schema import LgeSettings
from models.registry import Card
from pipeline.case import LV_CAVITY, LV_MYOCARDIUM
from pipeline.lge import LgePipeline, lge_stages
from pipeline.lge_case import LgeCase, LgeStack
from tests.unit.pipeline.cine_cases import Localised, card, drawn_labels
from tests.unit.pipeline.result_cases import STUDY, make_case

CAVITY, MYOCARDIUM, INFARCT, NO_REFLOW = 1, 2, 3, 4  # the classes of the network
REMOTE, BLOOD, BRIGHT, DARK = 60.0, 220.0, 330.0, 55.0


def drawn_truth(*, scar: bool = True, no_reflow: bool = True, size: int = 96) -> np.ndarray:
    """Classes uint8 [z, y, x] of a round heart in ten of twelve slices, scar on its right side."""
    labels = drawn_labels(phases=2, slices=12, es=1, size=size)[0]
    truth = np.zeros(labels.shape, np.uint8)
    truth[labels == LV_CAVITY] = CAVITY
    truth[labels == LV_MYOCARDIUM] = MYOCARDIUM
    y, x = np.mgrid[:size, :size] - (size - 1) / 2
    sector = (np.abs(np.arctan2(y, x)) < 0.6) & (np.hypot(y, x) > 0)
    wall = truth == MYOCARDIUM
    wall[[0, 1, 10, 11]] = False
    if scar:
        truth[wall & sector] = INFARCT
    if scar and no_reflow:
        core = (np.abs(np.arctan2(y, x)) < 0.3) & (np.hypot(y, x) > 15.5) & (np.hypot(y, x) < 19)
        core_slices = np.zeros(12, bool)
        core_slices[3:6] = True
        truth[(truth == INFARCT) & core & core_slices[:, None, None]] = NO_REFLOW
    return truth


def painted(truth: np.ndarray) -> np.ndarray:
    """Intensities float32 [z, y, x] of classes, with noise."""
    noise = np.random.default_rng(3).normal(0, 8, truth.shape)
    levels = np.array([120.0, BLOOD, REMOTE, BRIGHT, DARK])
    return np.abs(levels[truth] + noise).astype(np.float32)


def lge_stack(truth: np.ndarray, **changes: object) -> LgeStack:
    """A stack of painted images, with headers of the test patient."""
    base = make_case().stack
    cells = tuple(
        replace(base.sources[0][0], sop_instance_uid=f"{STUDY}.9.{z}", trigger_time_ms=0.0)
        for z in range(len(truth))
    )
    header = base.headers[base.sources[0][0].sop_instance_uid]
    axes = base.row_cosines, base.column_cosines
    positions = np.arange(len(truth))[:, None] * 8.0 * np.cross(*axes)
    values = {
        "frames": painted(truth)[None],
        "sources": (cells,),
        "positions_mm": positions,
        "row_cosines": axes[0],
        "column_cosines": axes[1],
        "pixel_spacing_mm": (1.5, 1.5),
        "slice_spacing_mm": 8.0,
        "slice_extent_mm": np.full(len(truth), 8.0),
        "missing": (),
        "missing_fraction": 0.0,
        "headers": {
            cell.sop_instance_uid: _placed(header, cell.sop_instance_uid, positions[z], truth)
            for z, cell in enumerate(cells)
        },
        "digests": {cell.sop_instance_uid: f"{z:064x}" for z, cell in enumerate(cells)},
        "inversion_times_ms": (300.0,) * len(truth),
        "phase_sensitive": False,
        "left_out": (),
    }
    return LgeStack(**(values | changes))


def _placed(header, uid, position, truth):
    placed = deepcopy(header)
    placed.SOPInstanceUID = uid
    placed.ImagePositionPatient = [f"{value:.6g}" for value in position]
    placed.PixelSpacing = ["1.5", "1.5"]
    placed.Rows, placed.Columns = truth.shape[1:]
    return placed


class OracleLocaliser:
    """Sees the LV where the truth has one."""

    card = card("oracle_localiser")

    def __init__(self, truth: np.ndarray) -> None:
        self.truth = truth

    def __call__(self, images, pixel_spacing_mm):
        shows = self.truth.any(axis=(1, 2))
        centre = np.argwhere(self.truth)[:, 1:].mean(axis=0)
        return Localised(0.02 + 0.96 * shows, (float(centre[0]), float(centre[1])))


class OracleClassifier:
    """Tells what it is given, whatever the images."""

    card = card("oracle_classifier")

    def __init__(self, probability: np.ndarray) -> None:
        self.probability = probability

    def __call__(self, images, pixel_spacing_mm):
        assert images.shape[0] == len(self.probability)
        return self.probability

    def grad_cam(self, image, pixel_spacing_mm):
        return image / image.max()


class OracleScarSegmenter:
    """Knows the truth."""

    def __init__(
        self,
        truth: np.ndarray,
        calibration: Mapping[str, float] | None = None,
        error: float = 0.0,
    ) -> None:
        self.truth = truth
        metrics = {"test_drawn": {"patients": 3, "scar_percent_error_mean": error}}
        self.card: Card = replace(
            card("oracle_scar"), calibration=calibration or {}, metrics=metrics
        )

    def __call__(self, frames, slices, pixel_spacing_mm, centre_yx, *, careful=False):
        return self.truth[None, slices]


CALIBRATION = {"infarct_slope": 1.0, "infarct_intercept": -3.0}


def lge_pipeline(
    truth: np.ndarray, classifier: OracleClassifier | None = None, *, error: float = 0.0
) -> LgePipeline:
    segmenter = OracleScarSegmenter(truth, CALIBRATION, error)
    stages = lge_stages(LgeSettings(), OracleLocaliser(truth), segmenter, classifier)
    return LgePipeline(stages, "cpu", "oracle")


def lge_case(truth: np.ndarray | None = None, companion=None, **changes: object) -> LgeCase:
    """The drawn heart, measured with oracles; `changes` alter the stack beforehand."""
    truth = drawn_truth() if truth is None else truth
    return lge_pipeline(truth).run(lge_stack(truth, **changes), companion)
