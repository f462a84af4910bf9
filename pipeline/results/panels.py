"""Pictures of the page: contours on an image, the volume curve, a bullseye of AHA segments."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from textwrap import wrap
from typing import TYPE_CHECKING, Any

import numpy as np

from pipeline.case import (
    LV_CAVITY,
    LV_MYOCARDIUM,
    NO_REFLOW,
    RV_CAVITY,
    SCAR,
    CineCase,
    Float32,
    ShortAxisStack,
    UInt8,
)
from pipeline.results.codes import STRUCTURES, with_decimals
from pipeline.results.pen import FAINT, INK, RED, RULE

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_MARGIN_MM = 18.0
# What each contour goes around, and whose colour it has: the outer one holds the whole LV.
_CONTOURS = (
    ((RV_CAVITY,), RV_CAVITY),
    ((LV_CAVITY, LV_MYOCARDIUM, SCAR, NO_REFLOW), LV_MYOCARDIUM),
    ((LV_CAVITY,), LV_CAVITY),
    ((SCAR, NO_REFLOW), SCAR),
    ((NO_REFLOW,), NO_REFLOW),
)
_RINGS = ((1, 6, 1.0), (7, 6, 0.75), (13, 4, 0.5))  # first segment, how many, outer radius
_RING_WIDTH, _APEX_RADIUS = 0.25, 0.25
_UNKNOWN = "#eeeeee"


def draw_contours(
    axes: "Axes", image: Float32, labels: UInt8, stack: ShortAxisStack, title: str
) -> None:
    """Draw an image [y, x] about the heart with the outlines of its label map [y, x]."""
    row_mm, column_mm = stack.pixel_spacing_mm
    top, bottom, left, right = _window(labels, stack.pixel_spacing_mm)
    inside = image[max(0, int(top)) : int(bottom) + 1, max(0, int(left)) : int(right) + 1]
    low, high = np.percentile(inside, (1, 99.5))
    axes.imshow(image, cmap="gray", vmin=low, vmax=max(high, low + 1e-6), aspect=row_mm / column_mm)
    for values, of in _CONTOURS:
        mask = np.isin(labels, values)
        if mask.any():
            axes.contour(mask, [0.5], colors=[colour_of(of)], linewidths=1.0)
    axes.set_xlim(max(left, -0.5), min(right, image.shape[1] - 0.5))
    axes.set_ylim(min(bottom, image.shape[0] - 0.5), max(top, -0.5))
    axes.set_axis_off()
    axes.set_title(title, fontsize=7, color=INK, pad=3)


def _window(
    labels: UInt8, pixel_spacing_mm: tuple[float, float]
) -> tuple[float, float, float, float]:
    """Top, bottom, left and right, in pixels, of a square of mm about what is labelled."""
    spacing, places = np.array(pixel_spacing_mm), np.argwhere(labels)
    low, high = places.min(axis=0), places.max(axis=0)
    half = (((high - low) * spacing).max() / 2 + _MARGIN_MM) / spacing
    (top, left), (bottom, right) = (low + high) / 2 - half, (low + high) / 2 + half
    return float(top), float(bottom), float(left), float(right)


def draw_curve(axes: "Axes", case: CineCase) -> None:
    """Draw the volumes over the beat, with ED and ES."""
    stack, curves = case.stack, case.volume_curve_ml or {}
    timed = not stack.times_are_estimates
    times = stack.trigger_times_ms if timed else np.arange(1, len(stack.frames) + 1)
    for side, value, style in (("lv", LV_CAVITY, "o-"), ("rv", RV_CAVITY, "s--")):
        if side in curves:
            colour = colour_of(value)
            axes.plot(
                times, curves[side], style, color=colour, label=side.upper(),
                linewidth=1.1, markersize=2.2,
            )  # fmt: skip
    axes.legend(fontsize=6.5, frameon=False, loc="lower right", ncols=2)
    axes.set_ylim(0, 1.12 * max((float(curve.max()) for curve in curves.values()), default=1.0))
    if case.phases is not None:
        for name, phase in (("ED", case.phases.ed), ("ES", case.phases.es)):
            axes.axvline(times[phase], color=FAINT, linestyle=":", linewidth=0.8)
            axes.annotate(
                name, (times[phase], 1), (2, -2), xycoords=("data", "axes fraction"),
                textcoords="offset points", fontsize=7, color=FAINT, va="top",
            )  # fmt: skip
    axes.set_title("Volume (ml)", fontsize=7, color=INK, pad=3, loc="left")
    axes.set_xlabel("ms after the R wave" if timed else "cardiac phase", fontsize=6.5, color=FAINT)
    axes.tick_params(labelsize=6.5, colors=FAINT, width=0.5, length=2)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    for side in ("left", "bottom"):
        axes.spines[side].set_color(RULE)


def draw_bullseye(
    axes: "Axes",
    values: Mapping[int, float],
    title: str,
    *,
    top: float,
    colours: str,
    marked: Collection[int] = (),
    digits: int = 1,
    why_none: str = "",
) -> None:
    """Draw AHA segments, seen from the apex with the anterior wall above and the septum left.

    Parameters
    ----------
    axes : Axes
    values : mapping of segment to value
        A segment that is absent is grey.
    title : str
    top : float
        Value of the darkest colour; 0 is the lightest.
    colours : str
        Name of a colour map.
    marked : collection of int
        Segments that are ringed and written in red.
    digits : int
    why_none : str
        Written across, where no segment has a value.
    """
    from matplotlib import colormaps

    shades = colormaps[colours]
    for first, count, radius in _RINGS:
        for n in range(count):
            segment, middle = first + n, 90 + 360 / count * n
            value = values.get(segment)
            share = 0.0 if value is None else min(max(value / top, 0), 1)
            face = _UNKNOWN if value is None else shades(0.08 + 0.72 * share)
            number = "-" if value is None else with_decimals(value, digits)
            text = _Said(number, is_marked=segment in marked, on_dark=share > 0.6)
            _draw_segment(axes, radius, (middle, 180 / count), face, text)
    _draw_frame(axes)
    if why_none:
        box = {"facecolor": "white", "edgecolor": RULE, "linewidth": 0.6}
        said = "\n".join(wrap(f"Not computed: {why_none}.", 34))
        axes.text(0, 0, said, fontsize=6, ha="center", va="center", color=INK, bbox=box)
    axes.set_title(title, fontsize=7.5, color=INK, pad=2)
    axes.set(xlim=(-1.16, 1.16), ylim=(-1.16, 1.16), aspect="equal")
    axes.set_axis_off()


@dataclass(frozen=True, slots=True)
class _Said:
    """What stands in a segment."""

    text: str
    is_marked: bool
    on_dark: bool

    @property
    def colour(self) -> str:
        if self.is_marked:
            return RED
        return "white" if self.on_dark else INK


def _draw_segment(
    axes: "Axes", radius: float, angles: tuple[float, float], face: Any, said: _Said
) -> None:
    """Draw a segment of a ring about a middle angle, to half a width on either side (degrees)."""
    from matplotlib.patches import Wedge

    middle, half = angles
    around = (middle - half, middle + half)
    axes.add_patch(
        Wedge((0, 0), radius, *around, width=_RING_WIDTH, facecolor=face, edgecolor="white")
    )
    if said.is_marked:
        inner = (radius - 0.015, middle - half + 1.5, middle + half - 1.5)
        axes.add_patch(
            Wedge((0, 0), *inner, width=_RING_WIDTH - 0.03, facecolor="white", edgecolor=RED)
        )
    at, turn = radius - _RING_WIDTH / 2, np.radians(middle)
    weight = "bold" if said.is_marked else "normal"
    place: dict[str, Any] = {"ha": "center", "va": "center", "fontsize": 6, "fontweight": weight}
    axes.text(at * np.cos(turn), at * np.sin(turn), said.text, color=said.colour, **place)


def _draw_frame(axes: "Axes") -> None:
    """Draw the apex, and name the walls."""
    from matplotlib.patches import Circle

    small: dict[str, Any] = {"ha": "center", "va": "center", "color": FAINT}
    axes.add_patch(Circle((0, 0), _APEX_RADIUS - 0.01, facecolor=_UNKNOWN, edgecolor="white"))
    axes.text(0, 0, "not\nassessed", fontsize=4, **small)
    for x, y, wall, turn in (
        (0, 1.09, "anterior", 0),
        (0, -1.09, "inferior", 0),
        (-1.09, 0, "septal", 90),
        (1.09, 0, "lateral", 270),
    ):
        axes.text(x, y, wall, rotation=turn, fontsize=5.5, **small)


def colour_of(value: int) -> str:
    """Colour of a structure, as in the segmentation."""
    return "#{:02x}{:02x}{:02x}".format(*STRUCTURES[value].colour)
