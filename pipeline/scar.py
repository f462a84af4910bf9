"""Scar in late gadolinium enhancement by threshold: n-SD and full width at half maximum.

All arrays are [z, y, x]; a slice may show no myocardium. Intensities are compared within a slice
to its blood pool, so that a slice whose whole intensity is shifted (inversion time, receiver,
scaling) is measured like its neighbours; the contours alone say where the wall is.

- **Remote myocardium** is found from wall sectors, see `remote_myocardium`.
- **n-SD**: brighter than the remote mean by n standard deviations; 2 is what reporting
  recommendations name, 5 what agrees with visual reading (Bondarenko O et al., JCMR 2005;7:481;
  Flett AS et al., JACC Cardiovasc Imaging 2011;4:150, who find 2 SD up to twice as large). Where a
  magnitude image nulls the myocardium its noise is Rayleigh distributed: the standard deviation is
  0.655 of the receiver's and the upper tail longer (beyond 2 SD 3.7 %, not 2.3 %; Gudbjartsson H,
  Patz S, MRM 1995;34:910). The measured standard deviation is used as it is, for so published n-SD
  values are defined; stray pixels of the tail are too few to count as a region.
- **FWHM**: brighter than half way from the remote mean to the maximum of the hyper-enhanced
  region (Amado LC et al., JACC 2004;44:2383; from the remote mean, not from zero, after Hsu LY et
  al., JMRI 2006;23:298, since a phase-sensitive image has no true zero). The maximum is the 95th
  percentile of 3 x 3 means, for the single brightest pixel is mostly noise.
- **No scar**: a heart has scar when a seed, at least 2 % of the myocardium (about 2 g), lies
  contiguous above 4 SD; then every region counts that holds an island of 0.5 % above 4 SD. Pixels
  of the wall's edge are in no seed and count only next to scar within the wall: blood and fat show
  through them. The numbers were chosen on EMIDEC, where 49 of 54 hearts with infarct have a seed
  and 4 of 26 without.
- **No-reflow**: what is dark inside the scar, or between scar and cavity, belongs to the scar
  (Wu KC et al., Circulation 1998;97:765) and is given apart as well.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import reduce
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from config.errors import PermanentError
from pipeline.case import Float32, Float64, Mask
from pipeline.stages.biomarkers import MYOCARDIAL_DENSITY_G_PER_ML
from pipeline.stages.masks import numbered_bodies, without_holes

SEED_SD = 4.0
SEED_SHARE = 0.02
ISLAND_SHARE = 0.005
# Smaller dark spots inside the scar are noise.
NO_REFLOW_SHARE = 0.005

_SECTORS = 24
_WINDOW = 4  # sectors that are judged together: 60 degrees
_DARKEST_SHARE = 0.2
_UPPER_PERCENTILE = 75
_REMOTE_SD = 1.25
_MAXIMUM_PERCENTILE = 95
_FEWEST_IN_SECTOR, _FEWEST_IN_WINDOW, _FEWEST_BLOOD = 4, 12, 20
_SMALLEST_REMOTE_SHARE, _SMALLEST_POOL_SHARE = 0.03, 0.15
_CROSS = ((0, 0), (-1, 0), (1, 0), (0, -1), (0, 1))
_BOX = (*_CROSS, (-1, -1), (-1, 1), (1, -1), (1, 1))

Sectors = npt.NDArray[np.intp]
Values = TypeVar("Values", Mask, Float32)


class NoRemoteMyocardium(PermanentError):  # noqa: N818 - the field term
    """No plausible remote myocardium was found, so that no threshold has a meaning; says why."""


@dataclass(frozen=True, slots=True)
class RemoteMyocardium:
    """Myocardium without scar.

    Attributes
    ----------
    mean : float64 [z]
        Its intensity in each slice.
    sd : float
        Standard deviation of its pixels about that.
    mask : bool [z, y, x]
        The pixels it was measured on.
    """

    mean: Float64
    sd: float
    mask: Mask


@dataclass(frozen=True, slots=True)
class ScarResult:
    """Scar by one method.

    Attributes
    ----------
    mask : bool [z, y, x]
        Scar including no-reflow; empty when there is none.
    no_reflow : bool [z, y, x]
        The dark core alone.
    threshold : float64 [z] or None
        Least intensity of scar in each slice; None where the method found nothing to set it by.
    remote : RemoteMyocardium
    """

    mask: Mask
    no_reflow: Mask
    threshold: Float64 | None
    remote: RemoteMyocardium


def remote_myocardium(image: Float32, myocardium: Mask, cavity: Mask) -> RemoteMyocardium:
    """Find the myocardium without scar, as a reader would place a region in it.

    The wall without its edge is cut into sectors of 15 degrees. Windows of 60 degrees are ordered
    by their 75th percentile, which is high where scar takes a part of the wall or surrounds a dark
    core. The darkest fifth of all windows gives a first mean and a standard deviation within
    windows. Every sector whose 75th percentile lies at most 1.25 of these above the mean is
    remote, and all its pixels count, so that no tail is cut off.

    Parameters
    ----------
    image : float32 [z, y, x]
        Magnitude or phase-sensitive.
    myocardium, cavity : bool [z, y, x]
        Of the left ventricle; the myocardium with scar and no-reflow.

    Raises
    ------
    NoRemoteMyocardium
        When the wall is too thin to be measured, has no noise, or is not darker than the blood.
    """
    return _remote(_Wall.of(image, myocardium, cavity))


def scar_n_sd(image: Float32, myocardium: Mask, cavity: Mask, n: float) -> ScarResult:
    """Scar as what is brighter than remote myocardium by `n` standard deviations.

    Parameters and errors as of `remote_myocardium`.
    """
    wall = _Wall.of(image, myocardium, cavity)
    remote = _remote(wall)
    return _scar_above(wall, remote, remote.mean + n * remote.sd, _seeds(wall, remote))


def scar_fwhm(image: Float32, myocardium: Mask, cavity: Mask) -> ScarResult:
    """Scar as what is brighter than half the maximum of a hyper-enhanced region over remote.

    Parameters and errors as of `remote_myocardium`.
    """
    wall = _Wall.of(image, myocardium, cavity)
    remote = _remote(wall)
    seeds = _seeds(wall, remote)
    if not seeds.any():
        return ScarResult(seeds, seeds, None, remote)
    over = _local_mean(wall.image, wall.core) - remote.mean[:, None, None]
    highest = np.percentile(over[seeds], _MAXIMUM_PERCENTILE)
    return _scar_above(wall, remote, remote.mean + highest / 2, seeds)


def has_scar(bright: Mask, myocardium: Mask) -> bool:
    """Whether a region is large enough, against the myocardium, to be scar and no noise."""
    fewest = SEED_SHARE * np.count_nonzero(myocardium)
    return bool(_larger(bright, fewest).any())


def scar_mass_g(mask: Mask, voxel_ml: float) -> float:
    """Mass of a mask in g; `voxel_ml` is the volume a voxel stands for, gaps included."""
    return float(np.count_nonzero(mask)) * voxel_ml * MYOCARDIAL_DENSITY_G_PER_ML


def scar_percent(mask: Mask, myocardium: Mask) -> float:
    """Share of the LV mass in percent; needs no spacing.

    Raises
    ------
    ValueError
        When there is no myocardium.
    """
    whole = np.count_nonzero(myocardium)
    if not whole:
        raise ValueError("no myocardium to relate the scar to")
    return 100 * np.count_nonzero(mask & myocardium) / whole


@dataclass(frozen=True, slots=True)
class _Wall:
    """An LV wall ready to be measured; `core` is the myocardium without its edge pixels."""

    image: Float32
    myocardium: Mask
    cavity: Mask
    core: Mask
    blood: Float64

    @classmethod
    def of(cls, image: Float32, myocardium: Mask, cavity: Mask) -> "_Wall":
        blood = _blood(image, cavity)
        return cls(image, myocardium, cavity, _without_edge(myocardium), blood)


def _blood(image: Float32, cavity: Mask) -> Float64:
    """Median of the blood pool [z]; a slice that shows too little has that of the nearest."""
    inner = _without_edge(cavity)
    areas = np.count_nonzero(inner, axis=(1, 2))
    enough = np.flatnonzero(areas >= max(_FEWEST_BLOOD, _SMALLEST_POOL_SHARE * areas.max()))
    if not enough.size:
        raise NoRemoteMyocardium("the LV cavity is too small to compare the myocardium to")
    levels = [float(np.median(image[z][inner[z]])) for z in enough]
    return np.array([levels[int(np.argmin(abs(enough - z)))] for z in range(len(image))])


def _remote(wall: _Wall) -> RemoteMyocardium:
    values = np.asarray(wall.image - wall.blood[:, None, None], dtype=np.float32)
    sectors = _sectors(wall)
    pixels = _by_sector(values[wall.core], sectors[wall.core], len(values) * _SECTORS)
    mean, within_sd = _darkest(pixels)
    upper = np.array(
        [
            np.percentile(part, _UPPER_PERCENTILE) if len(part) >= _FEWEST_IN_SECTOR else np.inf
            for part in pixels
        ]
    )
    for _ in range(3):
        plain = upper <= mean + _REMOTE_SD * within_sd
        if not plain.any():
            raise NoRemoteMyocardium("no sector of the myocardium is evenly dark")
        mean = np.concatenate([pixels[i] for i in np.flatnonzero(plain)]).mean()
    mask = wall.core & plain[np.clip(sectors, 0, None)]
    sd = float(values[mask].std())
    _check(float(mean), sd, np.count_nonzero(mask) / np.count_nonzero(wall.core))
    return RemoteMyocardium(wall.blood + mean, sd, mask)


def _check(mean: float, sd: float, share: float) -> None:
    """Refuse what cannot be remote myocardium; `mean` is relative to the blood."""
    if share < _SMALLEST_REMOTE_SHARE:
        raise NoRemoteMyocardium(f"only {share:.0%} of the myocardium is evenly dark")
    if sd <= 0:
        raise NoRemoteMyocardium("the dark myocardium has no noise to measure")
    if mean >= 0:
        raise NoRemoteMyocardium(
            "the myocardium is not darker than the blood: no late enhancement, "
            "or the inversion time does not null it"
        )


def _sectors(wall: _Wall) -> Sectors:
    """Number of the sector of each core pixel, slice by slice about the LV; -1 elsewhere."""
    numbers = np.full(wall.core.shape, -1, dtype=np.intp)
    for z, core in enumerate(wall.core):
        if core.any():
            inside = wall.cavity[z] if wall.cavity[z].any() else wall.myocardium[z]
            centre = np.argwhere(inside).mean(axis=0)
            rows, columns = np.nonzero(core)
            turn = np.arctan2(rows - centre[0], columns - centre[1]) / (2 * np.pi) + 0.5
            numbers[z, rows, columns] = z * _SECTORS + (turn * _SECTORS).astype(int) % _SECTORS
    return numbers


def _by_sector(values: Float32, sectors: Sectors, count: int) -> list[Float32]:
    order = np.argsort(sectors, kind="stable")
    ends = np.searchsorted(sectors[order], np.arange(1, count))
    return np.split(values[order], ends)


def _darkest(pixels: list[Float32]) -> tuple[float, float]:
    """Mean, and standard deviation within a window, of the darkest fifth of all windows."""
    windows = []
    for first in range(0, len(pixels), _SECTORS):
        around = pixels[first : first + _SECTORS]
        for start in range(_SECTORS):
            window = np.concatenate([around[start + step - _SECTORS] for step in range(_WINDOW)])
            if len(window) >= _FEWEST_IN_WINDOW:
                upper = np.percentile(window, _UPPER_PERCENTILE)
                windows.append((float(upper), float(window.mean()), float(window.std())))
    if not windows:
        raise NoRemoteMyocardium("the myocardium is too thin to be measured")
    dark = np.array(sorted(windows)[: max(1, int(_DARKEST_SHARE * len(windows)))])
    return float(np.median(dark[:, 1])), float(np.median(dark[:, 2]))


def _seeds(wall: _Wall, remote: RemoteMyocardium) -> Mask:
    """Hyper-enhanced islands of the wall; none at all where none is large enough to be no noise."""
    bright = wall.core & (wall.image > (remote.mean + SEED_SD * remote.sd)[:, None, None])
    if not has_scar(bright, wall.myocardium):
        return bright & False
    return _larger(bright, ISLAND_SHARE * np.count_nonzero(wall.myocardium))


def _scar_above(
    wall: _Wall, remote: RemoteMyocardium, threshold: Float64, seeds: Mask
) -> ScarResult:
    """Regions above a threshold that hold a seed, their edge pixels and their dark core."""
    bright = wall.myocardium & (wall.image > threshold[:, None, None])
    numbers = numbered_bodies((bright & wall.core)[None])[0]
    scar = np.isin(numbers, np.setdiff1d(numbers[seeds], [0]))
    scar |= bright & ~wall.core & _grown(scar)
    dark = _enclosed(wall, scar)
    no_reflow = _larger(dark, NO_REFLOW_SHARE * np.count_nonzero(wall.myocardium))
    return ScarResult(scar | dark, no_reflow, threshold, remote)


def _enclosed(wall: _Wall, scar: Mask) -> Mask:
    """Wall that scar and cavity enclose within a slice; a gap of two pixels counts as closed."""
    closed = scar | wall.cavity
    barrier = (_grown(scar) & wall.myocardium) | wall.cavity
    inner = without_holes(barrier[None])[0] & ~barrier
    enclosed = _grown(inner) | without_holes(closed[None])[0]
    return np.asarray(enclosed & wall.myocardium & ~scar, dtype=np.bool_)


def _larger(mask: Mask, fewest: float) -> Mask:
    """Connected bodies of at least this many pixels."""
    numbers = numbered_bodies(mask[None])[0]
    sizes = np.bincount(numbers.ravel())
    sizes[0] = 0
    return np.asarray(sizes[numbers] >= max(fewest, 1), dtype=np.bool_)


def _grown(mask: Mask) -> Mask:
    """Every pixel of a mask and its eight neighbours in the slice."""
    return np.asarray(reduce(np.logical_or, _around(mask, _BOX)), dtype=np.bool_)


def _without_edge(mask: Mask) -> Mask:
    """Pixels of a mask whose four neighbours in the slice belong to it."""
    return np.asarray(reduce(np.logical_and, _around(mask, _CROSS)), dtype=np.bool_)


def _local_mean(image: Float32, mask: Mask) -> Float32:
    """Mean over those of the 3 x 3 pixels around that lie in a mask; 0 where none does."""
    total = sum(_around(np.where(mask, image, 0), _BOX))
    count = sum(_around(mask.astype(np.float32), _BOX))
    return np.asarray(total / np.maximum(count, 1), dtype=np.float32)


def _around(values: Values, steps: tuple[tuple[int, int], ...]) -> Iterator[Values]:
    """The slices shifted by each step (rows, columns); what comes in from outside is 0."""
    _, rows, columns = values.shape
    padded = np.pad(values, ((0, 0), (1, 1), (1, 1)))
    for down, right in steps:
        yield padded[:, 1 + down : 1 + down + rows, 1 + right : 1 + right + columns]
