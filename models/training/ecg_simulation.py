"""Sinus rhythm from a maintained simulator: NeuroKit2.

MIT licence; Makowski et al. 2021, Behavior Research Methods, doi:10.3758/s13428-020-01516-y. It
follows the dynamical model ECGSYN (McSharry et al. 2003, doi:10.1109/TBME.2003.808805). It scales
every lead to the same height and offers no pathology, so each of the five waves is simulated
alone, over the same beats, and `models.synthetic.ecg` lays them into the leads. Training only.
"""

from importlib.util import find_spec

import numpy as np

from models.ecg_sheet import SECONDS
from models.synthetic.ecg import HZ, Beats, Float64

_DEGREES = (-70.0, -15.0, 0.0, 15.0, 100.0)
_WIDTHS = (0.25, 0.1, 0.1, 0.1, 0.4)
_SPARE_S = 2.0
_STRONG = 30.0  # so that the line that breathes in the model does not count


def is_installed() -> bool:
    """Whether the simulator is at hand."""
    return find_spec("neurokit2") is not None


def simulated_beats(rng: np.random.Generator, rate_bpm: float) -> Beats:
    """Beats of a sinus rhythm as the simulator makes them; see `models.synthetic.ecg.Source`."""
    seed = int(rng.integers(2**31))
    spread = float(rng.uniform(0.5, 3))
    degrees = np.array(_DEGREES) + rng.normal(0, (6, 1, 0, 1, 6))
    widths = np.array(_WIDTHS) * rng.uniform(0.85, 1.15, 5)
    waves = np.stack(
        [_wave(number, seed, rate_bpm, spread, degrees, widths) for number in range(5)]
    )
    first = int(rng.integers(waves.shape[1] - round(SECONDS * HZ)))  # it begins at an R wave
    cut = waves[:, first : first + round(SECONDS * HZ)]
    return Beats(_peaks(cut[2]), cut)


def _wave(  # noqa: PLR0917 - what the simulator takes
    number: int, seed: int, rate_bpm: float, spread: float, degrees: Float64, widths: Float64
) -> Float64:
    """One wave of all beats, of height 1; float64 [samples]."""
    import neurokit2

    heights = np.zeros(len(degrees))
    heights[number] = _STRONG
    found = neurokit2.ecg_simulate(
        duration=SECONDS + _SPARE_S,
        sampling_rate=round(HZ),
        noise=0,
        heart_rate=rate_bpm,
        heart_rate_std=spread,
        method="ecgsyn",
        random_state=seed,
        ti=degrees,
        ai=heights,
        bi=widths,
    )
    lifted = np.asarray(found, dtype=np.float64) - np.median(found)
    return np.asarray(lifted / lifted.max())


def _peaks(wave: Float64) -> Float64:
    """Times of the peaks of the R waves."""
    middle = wave[1:-1]
    tops = (middle > 0.5) & (middle >= wave[:-2]) & (middle > wave[2:])
    return np.asarray((np.nonzero(tops)[0] + 1) / HZ)
