"""Sinus rhythm from a maintained simulator: NeuroKit2.

MIT licence; Makowski et al. 2021, Behavior Research Methods, doi:10.3758/s13428-020-01516-y. It
follows the dynamical model ECGSYN (McSharry et al. 2003, doi:10.1109/TBME.2003.808805). It scales
every lead to the same height and offers no pathology, so one lead of it is taken apart into the
five waves of each beat, and `models.synthetic.ecg` lays them into the twelve leads. Training only.
"""

from importlib.util import find_spec

import numpy as np

from models.ecg_sheet import SECONDS
from models.synthetic.ecg import HZ, Beats, Float64
from models.training.ecg_records import peaks_of

_DEGREES = (-70.0, -15.0, 0.0, 15.0, 100.0)
_HEIGHTS = (1.2, -5.0, 30.0, -7.5, 0.75)
_WIDTHS = (0.25, 0.1, 0.1, 0.1, 0.4)
_SPARE_S = 2.0
_APART_S = 0.3  # of two beats at the least, and more than from R to T
_EDGE_S = 0.02  # over which a wave is cut from its neighbours


def is_installed() -> bool:
    """Whether the simulator is at hand."""
    return find_spec("neurokit2") is not None


def simulated_beats(rng: np.random.Generator, rate_bpm: float) -> Beats:
    """Beats of a sinus rhythm as the simulator makes them; see `models.synthetic.ecg.Source`."""
    import neurokit2

    found = neurokit2.ecg_simulate(
        duration=SECONDS + _SPARE_S,
        sampling_rate=round(HZ),
        noise=0,
        heart_rate=rate_bpm,
        heart_rate_std=float(rng.uniform(0.5, 3)),
        method="ecgsyn",
        random_state=int(rng.integers(2**31)),
        ti=np.array(_DEGREES) + rng.normal(0, (6, 1, 0, 1, 6)),
        ai=np.array(_HEIGHTS),
        bi=np.array(_WIDTHS) * rng.uniform(0.85, 1.15, 5),
    )
    samples = round(SECONDS * HZ)
    first = int(rng.integers(len(found) - samples))  # the simulator begins at an R wave
    trace = np.asarray(found, dtype=np.float64) - np.median(found)
    times, waves = taken_apart(trace)
    inside = (times >= first / HZ) & (times < (first + samples) / HZ)
    return Beats(times[inside] - first / HZ, waves[:, first : first + samples])


def taken_apart(trace: Float64) -> tuple[Float64, Float64]:
    """Times of R, and P, Q, R, S and T by their sign and their place about it, of height 1.

    Parameters
    ----------
    trace : float64 [samples]
        One lead at `HZ` in which P, R and T go up and Q and S down.
    """
    times = peaks_of(trace, float(trace.max() / 2), round(_APART_S * HZ)) / HZ
    interval = float(np.median(np.diff(times)))
    places = (
        (1, -0.38 * interval, -0.07), (-1, -0.09, 0.0), (1, -0.06, 0.06),
        (-1, 0.0, 0.1), (1, 0.08, 0.6 * interval),
    )  # fmt: skip
    seconds = np.arange(len(trace)) / HZ
    waves = []
    for sign, start, end in places:
        since = seconds[None] - times[:, None]
        near = np.minimum(since - start, end - since).max(axis=0) / _EDGE_S
        wave = (sign * trace).clip(min=0) * near.clip(0, 1)
        waves.append(wave / wave.max())
    return times, np.stack(waves)
