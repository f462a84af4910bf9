"""Quality: the images are good enough, judged where the LV was found.

Everything is measured in units of the contrast between blood and myocardium, which is what tells
one from the other.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from config.quality import CineQualitySettings
from pipeline.case import (
    LV_CAVITY,
    LV_MYOCARDIUM,
    RV_CAVITY,
    CineCase,
    Float32,
    Mask,
    QualityFinding,
    UInt8,
    Verdict,
)
from pipeline.stages.biomarkers import RV_STROKE
from pipeline.stages.checked import judged, middle_labels, phases_of, unchecked
from pipeline.stages.relevance import middle_slices

RV_SYSTOLE = ("rv_esv", "rv_esv_index", *RV_STROKE)
_MIN_PIXELS = 20
_SD_OF_MEDIAN = 1.4826  # of the absolute deviation of normally distributed values
# Immerkaer J, Comput Vis Image Underst 1996;64:300: blind to planes and to straight edges.
_LAPLACIANS = np.array([[1.0, -2.0, 1.0], [-2.0, 4.0, -2.0], [1.0, -2.0, 1.0]])
_LAPLACIANS_GAIN = 6.0
_MARGIN_MM = 20.0


@dataclass(frozen=True, slots=True)
class Sight:
    """How well one image shows the LV.

    Attributes
    ----------
    contrast : float
        Blood less myocardium, over the mean spread of their values.
    noise : float
        SD of the noise, over blood less myocardium; infinite where blood is not the brighter.
    edge_mm : float
        Over how far the endocardium spreads the step from blood to myocardium.
    """

    contrast: float
    noise: float
    edge_mm: float


def check_images(case: CineCase, limits: CineQualitySettings) -> tuple[QualityFinding, ...]:
    """`image_contrast`, `image_noise`, `image_sharpness`: of the middle slices, median."""
    seen = _sights(case)
    checks = ("image_contrast", "image_noise", "image_sharpness")
    if not seen:
        return tuple(unchecked(check, "no LV was found in the middle slices") for check in checks)
    contrast, noise, edge_mm = np.median(
        [(one.contrast, one.noise, one.edge_mm) for one in seen], axis=0
    ).tolist()
    return (
        judged(
            "image_contrast", contrast, contrast < limits.contrast_review,
            f"blood and myocardium differ by only {contrast:.1f} times their own spread",
            "blood stands out from myocardium",
        ),
        judged(
            "image_noise", noise, noise > limits.noise_review,
            f"the noise is {noise:.0%} of the contrast between blood and myocardium",
            "the images are not noisy",
        ),
        judged(
            "image_sharpness", edge_mm, edge_mm > limits.edge_review_mm,
            f"the endocardium is spread over {edge_mm:.0f} mm: blurred, or moved",
            "the endocardium is sharp",
        ),
    )  # fmt: skip


def _sights(case: CineCase) -> list[Sight]:
    """What the middle slices show at ED and at ES, as far as they show an LV."""
    phases = phases_of(case)
    if case.relevance is None:
        raise ValueError("quality comes after relevance")
    images = case.stack.frames[[phases.ed, phases.es]][:, middle_slices(case.relevance)]
    pairs = zip(images.reshape(-1, *images.shape[2:]), middle_labels(case), strict=True)
    found = (sight(image, labels, case.stack.pixel_spacing_mm) for image, labels in pairs)
    return [one for one in found if one is not None]


def sight(image: Float32, labels: UInt8, pixel_spacing_mm: tuple[float, float]) -> Sight | None:
    """How well an image [y, x] shows the LV of its labels; None where that is small or apart."""
    cavity, wall = labels == LV_CAVITY, labels == LV_MYOCARDIUM
    blood, muscle, edge = image[cavity], image[wall], _inner_edge(cavity, wall)
    if min(len(blood), len(muscle)) < _MIN_PIXELS or not edge.any():
        return None
    step = float(np.median(blood) - np.median(muscle))
    spread = float(np.hypot(_spread(blood), _spread(muscle)) / np.sqrt(2))
    noise = _spread_about_0(_laplacians(image)[cavity]) / _LAPLACIANS_GAIN
    steepness = float(np.median(_steepness(image, pixel_spacing_mm)[edge]))
    return Sight(
        contrast=step / max(spread, 1e-6),
        noise=noise / step if step > 0 else float("inf"),
        edge_mm=step / steepness if steepness > 0 else float("inf"),
    )


def _spread(values: Float32) -> float:
    return _spread_about_0(values - np.median(values))


def _spread_about_0(values: npt.NDArray[np.floating]) -> float:
    return _SD_OF_MEDIAN * float(np.median(np.abs(values)))


def _laplacians(image: Float32) -> npt.NDArray[np.float64]:
    padded = np.pad(image.astype(np.float64), 1, mode="edge")
    windows = np.lib.stride_tricks.sliding_window_view(padded, (3, 3))
    return np.asarray(np.einsum("yxij,ij->yx", windows, _LAPLACIANS))


def _steepness(image: Float32, pixel_spacing_mm: tuple[float, float]) -> Float32:
    along_y, along_x = np.gradient(image, *pixel_spacing_mm)
    return np.asarray(np.hypot(along_y, along_x), dtype=np.float32)


def _inner_edge(cavity: Mask, wall: Mask) -> Mask:
    """Pixels of the cavity beside myocardium."""
    beside = [np.roll(wall, step, axis) for axis in (0, 1) for step in (1, -1)]
    return np.asarray(cavity & np.any(beside, axis=0))


def check_rv_blood(case: CineCase, limits: CineQualitySettings) -> QualityFinding:
    """`rv_blood`: little at ES is bright as blood, was RV at ED, and is labelled nothing."""
    check, es = "rv_blood", case.stack.frames[phases_of(case).es]
    share = unlabelled_rv_share(es, case.outlines)
    if share is None:
        reason = "not checked: the ventricles were not found at end systole"
        return QualityFinding(check, Verdict.REVIEW, reason, concerns=RV_SYSTOLE)
    return judged(
        check, share, share > limits.rv_blood_review,
        f"at end systole as much as {share:.0%} of the RV found lies beside it unlabelled, bright "
        "as blood: the RV may be drawn too small",
        "at end systole the RV holds the blood that is seen",
        RV_SYSTOLE,
    )  # fmt: skip


def unlabelled_rv_share(es: Float32, labels: UInt8) -> float | None:
    """What was RV at ED and is unlabelled but bright at ES, over the RV of ES.

    Parameters
    ----------
    es : float32 [z, y, x]
    labels : uint8 [2, z, y, x]
        Of ED and ES. Slices that show no LV at ES do not count: the base has left them.

    Returns
    -------
    float or None
        None where nothing is labelled at ES to compare with.
    """
    before, after = labels
    blood, muscle = es[after == RV_CAVITY], es[after == LV_MYOCARDIUM]
    if not blood.size or not muscle.size:
        return None
    bright = es > (np.median(blood) + np.median(muscle)) / 2
    has_lv = np.isin(after, (LV_CAVITY, LV_MYOCARDIUM)).any(axis=(1, 2), keepdims=True)
    left_out = bright & (before == RV_CAVITY) & (after == 0) & has_lv
    return float(np.count_nonzero(left_out) / blood.size)


def check_ghosting(case: CineCase, limits: CineQualitySettings) -> QualityFinding:
    """`image_ghosting`: beside the heart, ED and ES show the same."""
    check, phases = "image_ghosting", phases_of(case)
    ed, es = case.stack.frames[phases.ed], case.stack.frames[phases.es]
    ghosts = ghosting(ed, es, case.outlines, case.stack.pixel_spacing_mm)
    if ghosts is None:
        return unchecked(check, "blood and myocardium were not told apart")
    return judged(
        check, ghosts, ghosts > limits.ghosting_review,
        f"beside the heart ED and ES differ by {ghosts:.0%} of the contrast between blood and "
        "myocardium: ghosts, noise, or a body that moved",
        "beside the heart ED and ES show the same",
    )  # fmt: skip


def ghosting(
    ed: Float32, es: Float32, labels: UInt8, pixel_spacing_mm: tuple[float, float]
) -> float | None:
    """How much ED and ES differ in the rows, or in the columns, that pass through the heart.

    Ghosts of what moves lie along the phase-encoding direction, one of the two.

    Parameters
    ----------
    ed, es : float32 [z, y, x]
    labels : uint8 [2, z, y, x]
        Of both; what lies within 20 mm of the ventricles does not count.
    pixel_spacing_mm : (row_mm, column_mm)

    Returns
    -------
    float or None
        Root mean square difference over blood less myocardium; None where there is no contrast,
        or nothing beside the heart.
    """
    values = np.stack([ed, es])
    blood, muscle = values[labels == LV_CAVITY], values[labels == LV_MYOCARDIUM]
    if not blood.size or not muscle.size or np.median(blood) <= np.median(muscle):
        return None
    heart = np.asarray((labels > 0).any(axis=(0, 1)))
    row_mm, column_mm = pixel_spacing_mm
    rows = _around(np.asarray(heart.any(axis=1)), row_mm)
    columns = _around(np.asarray(heart.any(axis=0)), column_mm)
    apart = np.square(es - ed).mean(axis=0)
    bands = [rows[:, None] & ~columns, ~rows[:, None] & columns]
    found = [float(np.sqrt(apart[band].mean())) for band in bands if band.any()]
    step = float(np.median(blood) - np.median(muscle))
    return max(found) / step if found else None


def _around(shown: Mask, step_mm: float) -> Mask:
    """The run of pixels from the first that is shown to the last, and a margin on either side."""
    places, margin = np.flatnonzero(shown), round(_MARGIN_MM / step_mm)
    run = np.zeros_like(shown)
    run[max(places[0] - margin, 0) : places[-1] + margin + 1] = True
    return run
