"""Synthetic 12-lead ECG of known class: sinus rhythm, abnormal heartbeat, acute and old infarction.

Eight leads are independent (I, II, V1 to V6); the others follow from I and II (Einthoven,
Goldberger), so whatever is added there has its reciprocal where anatomy puts it. A beat is five
waves (P, Q, R, S, T), each with a direction in the frontal plane and a profile over the chest
leads. An infarct adds to the beats of any record, drawn or measured:

- acute: the ST segment is lifted towards the injured wall, from the J point into a high T wave;
  leads that look from the other side sink;
- old: the dead wall leaves a Q wave of at least 40 ms, less R, and an inverted T wave.

The walls are the anterior one (V1 to V4), the inferior one (II, III, aVF) and the lateral one
(I, aVL, V5, V6). Nothing here was measured on a patient; a network that learns from it learns what
is written here.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from models.ecg_leads import INDEPENDENT, twelve
from models.ecg_sheet import CLASSES, SECONDS

Float64 = npt.NDArray[np.float64]
Float32 = npt.NDArray[np.float32]

Shape = tuple[float, float, float]
"""Seconds from R to the peak of a wave, and its width before and after."""

HZ = 500.0
NORMAL, ABNORMAL, ACUTE, OLD = range(len(CLASSES))
RHYTHMS = (
    "atrial fibrillation", "ventricular ectopy", "atrial ectopy", "tachycardia", "bradycardia",
    "right bundle branch block", "left bundle branch block",
)  # fmt: skip
"""Abnormal heartbeats."""


@dataclass(frozen=True, slots=True)
class Wall:
    """A part of the left ventricle, as the leads see it.

    Attributes
    ----------
    angle_deg, strength : float
        Direction in the frontal plane (0 to the left arm, 90 to the feet), and how much of the
        injury lies in that plane.
    chest : 6 floats
        Share of the injury in V1 to V6; below zero where they look from the other side.
    """

    angle_deg: float
    strength: float
    chest: tuple[float, ...]


WALLS: Mapping[str, Wall] = {
    "anterior": Wall(-35.0, 0.35, (0.5, 1.0, 1.0, 0.8, 0.4, 0.15)),
    "inferior": Wall(105.0, 1.0, (-0.2, -0.4, -0.35, -0.15, 0.1, 0.2)),
    "lateral": Wall(-20.0, 0.8, (-0.25, -0.3, -0.1, 0.25, 0.75, 0.85)),
}

_SHAPE: Mapping[str, Shape] = {
    "P": (-0.165, 0.022, 0.022),
    "Q": (-0.028, 0.009, 0.009),
    "R": (0.0, 0.011, 0.011),
    "S": (0.032, 0.011, 0.013),
    "T": (0.28, 0.055, 0.038),
}
_BLOCKED = {
    "right bundle branch block": {"S": (0.065, 0.02, 0.022)},
    "left bundle branch block": {"R": (0.0, 0.024, 0.024), "S": (0.055, 0.024, 0.026)},
}
# Typical of adults, in mV: length and direction in the frontal plane; V1 to V6.
_TYPICAL = {
    "P": (0.13, 50.0, (0.05, 0.06, 0.06, 0.06, 0.06, 0.05)),
    "Q": (0.07, 215.0, (0.12, 0.15, 0.06, -0.04, -0.08, -0.08)),
    "R": (1.0, 45.0, (0.15, 0.35, 0.7, 1.3, 1.25, 0.95)),
    "S": (0.22, -130.0, (-0.9, -1.3, -0.8, -0.4, -0.15, -0.05)),
    "T": (0.32, 40.0, (0.02, 0.4, 0.45, 0.42, 0.34, 0.25)),
}


@dataclass(frozen=True, slots=True)
class Beats:
    """A rhythm, before any lead looks at it.

    Attributes
    ----------
    times_s : float64 [beats]
        Of the R waves, ectopic ones among them.
    waves : float64 [5, samples]
        P, Q, R, S and T of the beats that are conducted, each of height 1.
    """

    times_s: Float64
    waves: Float64


@dataclass(frozen=True, slots=True)
class SyntheticEcg:
    """A record drawn by a program.

    Attributes
    ----------
    leads : float32 [12, samples]
        In mV, in the order of `models.ecg_leads.LEADS`.
    hz : float
    label : int
        Index in `models.ecg_sheet.CLASSES`.
    heart_rate_bpm : float
        Mean of the record.
    rhythm, wall : str
        "sinus" or one of `RHYTHMS`; one of `WALLS`, or empty.
    """

    leads: Float32
    hz: float
    label: int
    heart_rate_bpm: float
    rhythm: str
    wall: str


Source = Callable[[np.random.Generator, float], Beats]
"""Makes the beats of a sinus rhythm of so many a minute, `SECONDS` at `HZ`."""


def synthesise_ecg(
    seed: int, label: int | None = None, source: Source | None = None
) -> SyntheticEcg:
    """Draw the record of a seed.

    Parameters
    ----------
    seed : int
    label : int, optional
        Index in `models.ecg_sheet.CLASSES`; without it the seed decides.
    source : callable, optional
        Of sinus beats; those of this module without it.
    """
    rng = np.random.default_rng([seed, 12])
    chosen = int(rng.integers(len(CLASSES))) if label is None else label
    rhythm = str(rng.choice(RHYTHMS)) if chosen == ABNORMAL else "sinus"
    beats, extra = _rhythm(rng, rhythm, source or sinus_beats)
    amplitudes = _amplitudes(rng)
    _conduct(amplitudes, rhythm)
    leads = twelve(amplitudes @ beats.waves + extra)
    wall = str(rng.choice(list(WALLS))) if chosen in (ACUTE, OLD) else ""
    if wall:
        leads = with_infarct(leads, HZ, beats.times_s, label=chosen, wall=wall, rng=rng)
    return SyntheticEcg(
        leads=_recorded(leads, rng),
        hz=HZ,
        label=chosen,
        heart_rate_bpm=60 / float(np.diff(beats.times_s).mean()),
        rhythm=rhythm,
        wall=wall,
    )


def with_infarct(
    leads: npt.NDArray[np.floating],
    hz: float,
    beats_s: Float64,
    *,
    label: int,
    wall: str,
    rng: np.random.Generator,
) -> Float64:
    """Add an infarct of random extent to each beat of a record.

    Parameters
    ----------
    leads : float [12, samples]
        In mV.
    hz : float
    beats_s : float64 [beats]
        Times of the R waves.
    label : int
        `ACUTE` or `OLD`.
    wall : str
        One of `WALLS`.
    rng : Generator
    """
    independent = np.asarray(leads, dtype=np.float64)[list(INDEPENDENT)]
    seen = _seen_by(WALLS[wall], rng)
    interval = float(np.median(np.diff(beats_s))) if len(beats_s) > 1 else 0.8
    t_time = _SHAPE["T"][0] * math.sqrt(min(interval, 1.2))

    def wave(offset: float, rise: float, fall: float) -> Float64:
        return laid(beats_s, (offset, rise, fall), hz, independent.shape[1])

    if label == ACUTE:
        lift, high_t = rng.uniform(0.15, 0.6), rng.uniform(0.1, 0.5)
        segment = wave(0.55 * t_time, 0.32 * t_time, 0.3 * t_time)
        top = wave(t_time, 0.06, 0.045)
        return twelve(independent + np.outer(lift * seen, segment) + np.outer(high_t * seen, top))
    there = seen.clip(0, 1)
    r_mv = _height_at(independent, hz, beats_s, 0.0).clip(min=0)
    t_mv = _height_at(independent, hz, beats_s, t_time)
    q_mv = rng.uniform(0.25, 0.6) * there
    lost = rng.uniform(0.4, 0.9) * there * r_mv
    turned = there * (rng.uniform(0.1, 0.35) + t_mv.clip(min=0))
    return twelve(
        independent
        - np.outer(q_mv, wave(-0.03, 0.016, 0.016))
        - np.outer(lost, wave(0.0, 0.013, 0.013))
        - np.outer(turned, wave(t_time, 0.055, 0.045))
    )


def laid(times_s: Float64, shape: Shape, hz: float, samples: int) -> Float64:
    """A wave of height 1 for each of the times; [samples]."""
    offset, rise, fall = shape
    since = np.arange(samples)[None] / hz - (times_s + offset)[:, None]
    widths = np.where(since < 0, rise, fall)
    return np.asarray(np.exp(-0.5 * (since / widths) ** 2).sum(axis=0))


def sinus_beats(rng: np.random.Generator, rate_bpm: float) -> Beats:
    """Beats of a sinus rhythm that breathes a little."""
    return beats_at(_times(rng, rate_bpm, rng.uniform(0.01, 0.04)))


def beats_at(times_s: Float64, shapes: Mapping[str, Shape] | None = None) -> Beats:
    """Beats with all waves, R at the times given; some waves may be of another shape."""
    chosen = {**_SHAPE, **(shapes or {})}
    stretch = math.sqrt(min(float(np.diff(times_s).mean()), 1.2))  # QT follows the rate
    offset, rise, fall = chosen["T"]
    chosen["T"] = offset * stretch, rise * stretch, fall * stretch
    samples = round(SECONDS * HZ)
    waves = [laid(times_s, shape, HZ, samples) for shape in chosen.values()]
    return Beats(times_s, np.stack(waves))


def _times(rng: np.random.Generator, rate_bpm: float, spread: float) -> Float64:
    """Times of R over a record and a little beyond."""
    mean = 60 / rate_bpm
    count = int((SECONDS + 2) / mean) + 3
    intervals = (mean * (1 + spread * rng.standard_normal(count))).clip(min=0.28)
    return np.asarray(intervals.cumsum() - 1 - rng.uniform(0, mean))


def _rhythm(rng: np.random.Generator, rhythm: str, source: Source) -> tuple[Beats, Float64]:
    """The beats, and what else is seen in the independent leads [8, samples]."""
    nothing = np.zeros((len(INDEPENDENT), 1))
    rates = {"tachycardia": (105, 160), "bradycardia": (34, 48)}
    rate = rng.uniform(*rates.get(rhythm, (58, 98)))
    if rhythm == "atrial fibrillation":
        beats = beats_at(_times(rng, rng.uniform(65, 140), rng.uniform(0.16, 0.28)))
        without_p = beats.waves * np.array([[0.0], [1], [1], [1], [1]])
        return Beats(beats.times_s, without_p), _fibrillation(rng)
    if rhythm.endswith("ectopy"):
        times = _times(rng, rate, 0.02)
        early = rng.choice(len(times) - 2, max(len(times) // 4, 2), replace=False) + 1
        times[early] -= rng.uniform(0.25, 0.4) * 60 / rate
        if rhythm == "atrial ectopy":
            return beats_at(times), nothing
        conducted = beats_at(np.delete(times, early))
        return Beats(times, conducted.waves), _ectopic(rng, times[early])
    if rhythm in _BLOCKED:
        return beats_at(_times(rng, rate, 0.02), _BLOCKED[rhythm]), nothing
    return source(rng, rate), nothing


def _fibrillation(rng: np.random.Generator) -> Float64:
    """Fibrillation of the atria: waves of 4 to 9 Hz, most in V1 and II."""
    seconds = np.arange(round(SECONDS * HZ)) / HZ
    rate = rng.uniform(4.5, 8.5) + 0.6 * np.sin(2 * np.pi * 0.3 * seconds + rng.uniform(0, 6))
    wave = rng.uniform(0.03, 0.09) * np.sin(2 * np.pi * rate.cumsum() / HZ)
    return np.outer((0.3, 0.8, 1.0, 0.7, 0.4, 0.3, 0.2, 0.2), wave)


def _ectopic(rng: np.random.Generator, times_s: Float64) -> Float64:
    """Wide beats from a ventricle, without P, their T the other way; [8, samples]."""
    away = rng.uniform(0.8, 1.4) * rng.choice([-1, 1])
    profile = away * np.array([0.7, 1.0, 1.0, 1.2, 0.8, 0.2, -0.6, -0.9])
    samples = round(SECONDS * HZ)
    complexes = laid(times_s, (0.0, 0.04, 0.035), HZ, samples)
    return np.outer(profile, complexes - 0.35 * laid(times_s, (0.27, 0.06, 0.05), HZ, samples))


def _amplitudes(rng: np.random.Generator) -> Float64:
    """Height in mV of each wave in each independent lead; [8, 5]."""
    turn = rng.uniform(-45, 35)  # of the electrical axis
    shift = rng.uniform(-0.7, 0.7)  # of the zone of transition, in chest leads
    size = rng.uniform(0.75, 1.25)
    columns = []
    for name, (length, angle, chest) in _TYPICAL.items():
        direction = math.radians(angle + (turn if name in "QRS" else 0.4 * turn) + rng.normal(0, 8))
        own = size * rng.uniform(0.8, 1.2)
        frontal = [own * length * math.cos(direction - math.radians(lead)) for lead in (0, 60)]
        moved = np.interp(np.arange(6) + shift, np.arange(6), chest)
        columns.append([*frontal, *(own * moved * rng.uniform(0.9, 1.1, 6))])
    return np.array(columns).T


def _conduct(amplitudes: Float64, rhythm: str) -> None:
    """Change the QRS of a record whose bundle branches do not conduct; in place."""
    if rhythm == "right bundle branch block":  # late forces to the right and forwards
        amplitudes[:, 3] = [-0.45, -0.3, 0.9, 0.6, 0.1, -0.3, -0.45, -0.5]
        amplitudes[2:5, 4] = [-0.25, -0.2, 0.05]
    if rhythm == "left bundle branch block":  # to the left and backwards, no septal wave
        amplitudes[:, 1] = 0
        amplitudes[:, 2] = [0.8, 0.5, -0.5, -0.8, -0.7, 0.2, 0.8, 0.9]
        amplitudes[:, 3] = [0.6, 0.3, -0.9, -1.2, -0.8, 0.2, 0.7, 0.8]
        amplitudes[:, 4] = [-0.25, -0.1, 0.35, 0.5, 0.4, 0.0, -0.25, -0.3]


def _seen_by(wall: Wall, rng: np.random.Generator) -> Float64:
    """Share of an injury in each independent lead; [8]."""
    angle = wall.angle_deg + rng.normal(0, 10)
    frontal = [wall.strength * math.cos(math.radians(angle - lead)) for lead in (0, 60)]
    return np.array([*frontal, *(np.array(wall.chest) * rng.uniform(0.8, 1.2, 6))])


def _height_at(
    independent: Float64, hz: float, beats_s: Sequence[float] | Float64, offset_s: float
) -> Float64:
    """Median height [8] over the line, so many seconds after each R."""
    places = np.round((np.asarray(beats_s) + offset_s) * hz).astype(int)
    inside = places[(places >= 0) & (places < independent.shape[1])]
    if not len(inside):
        return np.zeros(len(independent))
    line = np.median(independent, axis=1)
    return np.asarray(np.median(independent[:, inside], axis=1) - line)


def _recorded(leads: Float64, rng: np.random.Generator) -> Float32:
    """The record as electrodes give it: breath, muscles and mains in the independent leads."""
    seconds = np.arange(leads.shape[1]) / HZ
    count = len(INDEPENDENT)
    breath = rng.uniform(0, 0.08, count)[:, None] * np.sin(
        2 * np.pi * rng.uniform(0.15, 0.4) * seconds + rng.uniform(0, 6, count)[:, None]
    )
    mains = rng.uniform(0, 0.01) * np.sin(2 * np.pi * 50 * seconds)
    muscles = rng.uniform(0.002, 0.02) * rng.standard_normal((count, leads.shape[1]))
    return (leads + twelve(breath + mains + muscles)).astype(np.float32)
