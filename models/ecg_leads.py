"""The twelve leads of an ECG, and how four of them follow from two."""

import numpy as np
import numpy.typing as npt

Float64 = npt.NDArray[np.float64]

LEADS = ("I", "II", "III", "aVR", "aVL", "aVF", "V1", "V2", "V3", "V4", "V5", "V6")
"""The leads of a record, in the order of its rows."""
INDEPENDENT = (0, 1, 6, 7, 8, 9, 10, 11)
"""Rows of I, II and V1 to V6."""


def twelve(independent: Float64) -> Float64:
    """All leads [12, samples] from I, II and V1 to V6 [8, samples] (Einthoven, Goldberger)."""
    first, second = independent[:2]
    derived = [second - first, -(first + second) / 2, first - second / 2, second - first / 2]
    return np.concatenate([independent[:2], np.stack(derived), independent[2:]])
