"""Stacks and cases with known truth for the tests of the cine chain.

Each structure has one intensity in these stacks (`SHADES`), so that a segmenter which reads it is
an oracle: what the tests measure is the chain around the networks.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from pydicom import Dataset

from config.schema import CineSettings
from models.registry import Card
from models.regressor import RegressedVolume
from pipeline.case import LV_CAVITY, LV_MYOCARDIUM, RV_CAVITY, CineCase, CineStack, FrameSource
from pipeline.cine import CinePipeline, cine_stages

SHADES = np.array([30.0, 200.0, 60.0, 180.0], dtype=np.float32)
"""Of background, LV cavity, LV myocardium, RV cavity."""


def shown(labels: np.ndarray) -> np.ndarray:
    """Images of label maps [..., y, x], none of one grey value alone."""
    return SHADES[labels] + np.linspace(0, 1, labels.shape[-1], dtype=np.float32)


def labels_in(frames: np.ndarray) -> np.ndarray:
    """What the intensities of frames stand for."""
    return np.abs(frames[..., None] - SHADES).argmin(axis=-1).astype(np.uint8)


PERFECT = {
    "test_drawn": {
        "patients": 3,
        **{
            f"{side}_{volume}_error_ml_mean": 0.0
            for side in ("lv", "rv")
            for volume in ("edv", "esv")
        },
        **{f"{side}_ef_error_mean": 0.0 for side in ("lv", "rv")},
        "lv_mass_error_g_mean": 0.0,
    }
}


def card(name: str) -> Card:
    return Card(
        name=name,
        version="0",
        task="test",
        summary="reads the truth",
        intended_use="tests",
        limits="",
        licence="Apache-2.0",
        data=(),
        architecture="none",
        parameters={},
        input={},
        calibration={},
        metrics=PERFECT,
        weights_file="",
        weights_sha256=name.encode().hex().ljust(64, "0"),
    )


@dataclass(frozen=True)
class Localised:
    lv_probability: np.ndarray
    centre_yx: tuple[float, float]


class OracleLocaliser:
    """Sees the LV where the frame shows it."""

    card = card("oracle_localiser")

    def __call__(self, images, pixel_spacing_mm):
        left = np.isin(labels_in(images), (LV_CAVITY, LV_MYOCARDIUM))
        shows = np.any(left, axis=(1, 2))
        centre = np.argwhere(left)[:, 1:].mean(axis=0) if shows.any() else (0, 0)
        return Localised(0.02 + 0.96 * shows, (float(centre[0]), float(centre[1])))


class OracleSegmenter:
    """Reads the labels from the intensities."""

    card = card("oracle_segmenter")

    def __call__(self, frames, slices, pixel_spacing_mm, centre_yx, *, careful=False):
        return labels_in(frames[:, slices])


class OracleRegressor:
    """Finds the cavity of the frames, its area times `scale`."""

    card = card("oracle_regressor")

    def __init__(self, scale: float = 1.0) -> None:
        self.scale = scale

    def __call__(self, images, pixel_spacing_mm, centre_yx):
        cavity = labels_in(images) == LV_CAVITY
        area = cavity.sum(axis=(1, 2)) * np.prod(pixel_spacing_mm) * self.scale
        return RegressedVolume(area, cavity, cavity)


def oracle_pipeline(
    settings: CineSettings | None = None, regressor: OracleRegressor | None = None
) -> CinePipeline:
    stages = cine_stages(
        settings or CineSettings(), OracleLocaliser(), OracleSegmenter(), regressor=regressor
    )
    return CinePipeline(stages, "cpu", "oracle")


def header(**attributes: object) -> Dataset:
    dataset = Dataset()
    for keyword, value in attributes.items():
        setattr(dataset, keyword, value)
    return dataset


ADULT = {"PatientSize": "1.75", "PatientWeight": "70", "HeartRate": "60"}


def label_stack(
    labels: np.ndarray,
    *,
    pixel_spacing_mm: tuple[float, float] = (1.5, 1.5),
    slice_spacing_mm: float = 10.0,
    slice_extent_mm: np.ndarray | None = None,
    cosines: tuple[tuple[float, ...], tuple[float, ...]] = ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0)),
    headers: Mapping[str, Dataset] | None = None,
) -> CineStack:
    """A stack whose frames show the given label maps [t, z, y, x]."""
    n_phases, n_slices = labels.shape[:2]
    row, column = (np.array(direction) for direction in cosines)
    sources = tuple(
        tuple(
            FrameSource(f"1.2.{t}.{z}", "1.2.840.10008.5.1.4.1.1.4", "1.3", None, 40.0 * t)
            for z in range(n_slices)
        )
        for t in range(n_phases)
    )
    if slice_extent_mm is None:
        slice_extent_mm = np.full(n_slices, slice_spacing_mm)
    edges = np.concatenate([[0], np.cumsum(slice_extent_mm)])
    return CineStack(
        frames=shown(labels),
        sources=sources,
        positions_mm=np.outer((edges[1:] + edges[:-1]) / 2, np.cross(row, column)),
        row_cosines=row,
        column_cosines=column,
        pixel_spacing_mm=pixel_spacing_mm,
        slice_spacing_mm=slice_spacing_mm,
        slice_extent_mm=np.asarray(slice_extent_mm, dtype=np.float64),
        trigger_times_ms=40.0 * np.arange(n_phases),
        missing=(),
        missing_fraction=0.0,
        headers=headers if headers is not None else {"1.2.0.0": header(**ADULT)},
        digests={},
    )


def drawn_labels(phases: int = 12, slices: int = 12, size: int = 96, es: int = 4) -> np.ndarray:
    """A round heart, base at slice 1, apex at slice -2, ED at phase 0, ES at `es`; [t, z, y, x]."""
    y, x = np.mgrid[:size, :size] - (size - 1) / 2
    distance = np.hypot(y, x)
    labels = np.zeros((phases, slices, size, size), dtype=np.uint8)
    for t in range(phases):
        systole = 0.5 - 0.5 * np.cos(
            2 * np.pi * (t / (2 * es) if t <= es else 0.5 + (t - es) / (2 * (phases - es)))
        )
        for z in range(1, slices - 1):
            level = (z - 1) / (slices - 2)
            taper = np.sqrt(1 - level**2)
            cavity = (16 - 5 * systole) * taper
            outer = np.sqrt(cavity**2 + (22 * taper) ** 2 - (16 * taper) ** 2)
            right = np.hypot(y, x + 0.9 * 22 * taper) < (16 - 4 * systole) * taper
            labels[t, z][right] = RV_CAVITY
            labels[t, z][distance < outer] = LV_MYOCARDIUM
            labels[t, z][distance < cavity] = LV_CAVITY
    return labels


def drawn_case(regressor: OracleRegressor | None = None, **changes: object) -> CineCase:
    """The drawn heart, measured with oracles; `changes` alter the stack beforehand."""
    stack = replace(label_stack(drawn_labels()), **changes)
    return oracle_pipeline(regressor=regressor).run(stack)


def value(case: CineCase, name: str) -> float | None:
    return next(one.value for one in case.biomarkers if one.name == name)


def withheld(case: CineCase, name: str) -> str | None:
    return next(one.withheld for one in case.biomarkers if one.name == name)


def finding(case: CineCase, check: str):
    return next(one for one in case.quality if one.check == check)
