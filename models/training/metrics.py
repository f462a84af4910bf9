"""Figures of an evaluation, as pure functions of masks and numbers."""

import math
from collections.abc import Callable, Mapping, Sequence
from statistics import fmean, median, stdev

import numpy as np
import numpy.typing as npt
import SimpleITK as sitk  # noqa: N813 - its own usual name

Mask = npt.NDArray[np.bool_]

_RESAMPLES = 2000


def dice(found: Mask, truth: Mask) -> float:
    """Dice overlap of two masks of the same shape; 1 where both are empty."""
    total = int(found.sum()) + int(truth.sum())
    return 1.0 if total == 0 else 2 * int((found & truth).sum()) / total


def hausdorff_mm(found: Mask, truth: Mask, spacing_mm: tuple[float, float, float]) -> float:
    """Hausdorff distance of the surfaces of two masks: the farthest a surface voxel lies off.

    A surface voxel is one with a face-connected neighbour, or the edge of the volume, outside the
    mask, as the ACDC challenge counts it (Bernard et al. 2018).

    Parameters
    ----------
    found, truth : bool [z, y, x]
    spacing_mm : (slice_mm, row_mm, column_mm)

    Returns
    -------
    float
        In mm; NaN where one of the masks is empty.
    """
    if not found.any() or not truth.any():
        return math.nan
    window = _box(found | truth)
    surfaces = [_surface(mask[window]) for mask in (found, truth)]
    return max(
        float(_distance_mm(there, spacing_mm)[here].max())
        for here, there in (surfaces, surfaces[::-1])
    )


def _box(mask: Mask) -> tuple[slice, ...]:
    """The smallest box around a mask."""
    places = np.argwhere(mask)
    return tuple(
        slice(int(low), int(high) + 1)
        for low, high in zip(places.min(axis=0), places.max(axis=0), strict=True)
    )


def _surface(mask: Mask) -> Mask:
    padded = np.pad(mask, 1)
    inner = mask.copy()
    for axis in range(mask.ndim):
        for step in (1, -1):
            inner &= np.roll(padded, step, axis)[(slice(1, -1),) * mask.ndim]
    return mask & ~inner


def _distance_mm(surface: Mask, spacing_mm: tuple[float, float, float]) -> npt.NDArray[np.float32]:
    """Distance of every voxel [z, y, x] to the nearest voxel of a surface."""
    image = sitk.GetImageFromArray(surface.astype(np.uint8))
    image.SetSpacing(spacing_mm[::-1])  # type: ignore[no-untyped-call]
    distance = sitk.DanielssonDistanceMap(  # type: ignore[no-untyped-call]
        image, inputIsBinary=True, useImageSpacing=True
    )
    return np.asarray(sitk.GetArrayFromImage(distance))


def ejection_fraction(edv: float, esv: float) -> float:
    """Ejection fraction in percent; NaN without an end-diastolic volume."""
    return 100 * (edv - esv) / edv if edv > 0 else math.nan


def cyclic_frames(first: int, second: int, n_frames: int) -> int:
    """Count the frames between two frames of a cyclic sequence, the shorter way round."""
    direct = abs(first - second) % n_frames
    return min(direct, n_frames - direct)


def classification(found: Sequence[bool], truth: Sequence[bool]) -> dict[str, float]:
    """Confusion of two classes and what follows from it; what nothing speaks of is left out.

    Keys: `true_positive`, `false_positive`, `true_negative`, `false_negative`, `accuracy`,
    `precision`, `recall`, `specificity`, `f1`, `balanced_accuracy`.
    """
    pairs = list(zip(found, truth, strict=True))
    tp, fp = pairs.count((True, True)), pairs.count((True, False))
    tn, fn = pairs.count((False, False)), pairs.count((False, True))
    shares = {
        "accuracy": (tp + tn, len(pairs)),
        "precision": (tp, tp + fp),
        "recall": (tp, tp + fn),
        "specificity": (tn, tn + fp),
        "f1": (2 * tp, 2 * tp + fp + fn),
    }
    figures = {name: round(part / whole, 4) for name, (part, whole) in shares.items() if whole}
    if tp + fn and tn + fp:
        figures["balanced_accuracy"] = round((tp / (tp + fn) + tn / (tn + fp)) / 2, 4)
    counts = {"true_positive": tp, "false_positive": fp, "true_negative": tn, "false_negative": fn}
    return counts | figures


def class_figures(
    found: Sequence[int], truth: Sequence[int], classes: Sequence[str]
) -> dict[str, float]:
    """Confusion of any classes and what follows from it; what nothing speaks of is left out.

    Parameters
    ----------
    found, truth : sequence of int
        Indices of classes, one pair for each image.
    classes : sequence of str
        Their names.

    Returns
    -------
    dict
        For each class `n_<class>`, `sensitivity_<class>` and `precision_<class>`; `accuracy`,
        `balanced_accuracy` (mean sensitivity of the classes that are there) and the confusion as
        `<class>_as_<other>`, where it is not zero.
    """
    pairs = list(zip(found, truth, strict=True))
    figures: dict[str, float] = {}
    sensitivities = []
    for label, name in enumerate(classes):
        figures[f"n_{name}"] = n = sum(true == label for _, true in pairs)
        said, right = sum(one == label for one, _ in pairs), pairs.count((label, label))
        if n:
            sensitivities.append(right / n)
            figures[f"sensitivity_{name}"] = round(right / n, 4)
        if said:
            figures[f"precision_{name}"] = round(right / said, 4)
    if pairs:
        figures["accuracy"] = round(sum(one == true for one, true in pairs) / len(pairs), 4)
        figures["balanced_accuracy"] = round(fmean(sensitivities), 4)
    confused = {
        f"{classes[true]}_as_{classes[one]}": pairs.count((one, true))
        for one, true in sorted(set(pairs), key=lambda pair: pair[::-1])
    }
    return figures | confused


def wilson_interval(right: int, n: int) -> tuple[float, float]:
    """95 % confidence interval of a share, by the score of Wilson (JASA 1927); n is at least 1."""
    z = 1.959964
    share = right / n
    middle = share + z * z / (2 * n)
    reach = z * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    whole = 1 + z * z / n
    return (middle - reach) / whole, (middle + reach) / whole


def area_under_roc(scores: Sequence[float], truth: Sequence[bool]) -> float:
    """Share of pairs of a positive and a negative in which the positive scores higher.

    Equal scores count half (Hanley and McNeil, Radiology 1982); NaN where one class is missing.
    """
    pairs = list(zip(scores, truth, strict=True))
    positive = np.array([score for score, is_true in pairs if is_true])[:, None]
    negative = np.array([score for score, is_true in pairs if not is_true])
    if not positive.size or not negative.size:
        return math.nan
    return float(np.mean((positive > negative) + 0.5 * (positive == negative)))


_STATISTICS: Mapping[str, Callable[[Sequence[float]], float]] = {
    "mean": fmean,
    "sd": lambda values: stdev(values) if len(values) > 1 else 0.0,
    "median": median,
    "mean_absolute": lambda values: fmean(abs(value) for value in values),
    "lowest": min,
    "highest": max,
}


def statistics(values: Sequence[float]) -> dict[str, float]:
    """Summarise values: n, mean and its 95 % interval, SD, median, mean absolute value, range."""
    low, high = mean_interval(values)
    figures = {name: measure(values) for name, measure in _STATISTICS.items()}
    figures |= {"ci95_low": low, "ci95_high": high}
    return {"n": len(values)} | {name: round(value, 4) for name, value in figures.items()}


def mean_interval(values: Sequence[float]) -> tuple[float, float]:
    """95 % confidence interval of a mean over patients, by the percentile bootstrap, seeded."""
    listed = np.asarray(values, dtype=np.float64)
    draws = np.random.default_rng(0).integers(len(listed), size=(_RESAMPLES, len(listed)))
    low, high = np.percentile(listed[draws].mean(axis=1), [2.5, 97.5])
    return float(low), float(high)


def agreement(found: Sequence[float], truth: Sequence[float]) -> dict[str, float]:
    """Agreement of measured and true values, one pair per patient.

    Bland and Altman, Lancet 1986: `bias` is the mean of measured minus true, `limit_low` and
    `limit_high` lie 1.96 SD of the differences beside it. `correlation` is Pearson's, `slope`
    that of measured over true by least squares; NaN where the true values do not differ.
    """
    measured, true = (np.asarray(values, dtype=np.float64) for values in (found, truth))
    errors = measured - true
    bias = float(errors.mean())
    spread = 1.96 * (float(errors.std(ddof=1)) if len(errors) > 1 else 0.0)
    low, high = mean_interval(errors.tolist())
    figures = {
        "bias": bias,
        "bias_ci95_low": low,
        "bias_ci95_high": high,
        "limit_low": bias - spread,
        "limit_high": bias + spread,
        "mean_absolute": float(np.abs(errors).mean()),
        **_line(measured, true),
    }
    return {"n": len(errors)} | {name: round(value, 4) for name, value in figures.items()}


def _line(measured: npt.NDArray[np.float64], true: npt.NDArray[np.float64]) -> dict[str, float]:
    deviation, other = true - true.mean(), measured - measured.mean()
    varied = float((deviation**2).sum())
    both = math.sqrt(varied * float((other**2).sum()))
    shared = float((deviation * other).sum())
    return {
        "correlation": shared / both if both > 0 else math.nan,
        "slope": shared / varied if varied > 0 else math.nan,
    }
