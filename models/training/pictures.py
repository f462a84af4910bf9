"""Pictures of an evaluation: Bland-Altman plots, and contours of the worst cases."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from models.training.cases import LabelledVolume
from models.training.measure import Row
from models.training.metrics import agreement, dice
from models.training.slices import HEART
from models.training.summary import AGREEMENTS, pairs

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_MARGIN_PX = 12
_TRUE, _FOUND = "#35d07f", "#ff4d4d"


@dataclass(frozen=True, slots=True)
class Glimpse:
    """The slice of a volume that went worst, cut out around the heart.

    Attributes
    ----------
    title : str
    image : float32 [y, x]
    truth, found : uint8 [y, x]
    aspect : float
        Height over width of a pixel.
    """

    title: str
    image: npt.NDArray[np.float32]
    truth: npt.NDArray[np.uint8]
    found: npt.NDArray[np.uint8]
    aspect: float


def glimpse(volume: LabelledVolume, found: npt.NDArray[np.uint8]) -> Glimpse:
    """Cut out the slice with most pixels labelled other than in truth."""
    z = int((found != volume.labels).sum(axis=(1, 2)).argmax())
    places = np.argwhere((found[z] > 0) | (volume.labels[z] > 0))
    low, high = (
        (places.min(axis=0), places.max(axis=0))
        if len(places)
        else (np.zeros(2), np.array(found[z].shape))
    )
    window = tuple(
        slice(max(int(first) - _MARGIN_PX, 0), int(last) + 1 + _MARGIN_PX)
        for first, last in zip(low, high, strict=True)
    )
    scores = ", ".join(
        f"{name} {dice(found == label, volume.labels == label):.2f}"
        for label, name in HEART.items()
    )
    row_mm, column_mm = volume.pixel_spacing_mm
    return Glimpse(
        f"{volume.patient} {volume.phase.upper()}, slice {z + 1} of {len(found)}\n{scores}",
        volume.images[z][window],
        volume.labels[z][window],
        found[z][window],
        row_mm / column_mm,
    )


def draw_glimpses(cases: Sequence[tuple[Glimpse, Glimpse]], path: Path) -> None:
    """Draw ED and ES of each case with the contours of truth and of what was found."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 3.6 * len(cases)), layout="constrained")
    figure.suptitle("true: green, found: red; the slice that went worst; Dice of the volume")
    for axes, view in zip(
        figure.subplots(len(cases), 2, squeeze=False).ravel(),
        (view for case in cases for view in case),
        strict=True,
    ):
        axes.imshow(view.image, cmap="gray", aspect=view.aspect)
        axes.set_title(view.title, fontsize=8)
        axes.set_axis_off()
        for labels, colour in ((view.truth, _TRUE), (view.found, _FOUND)):
            for label in HEART:
                if (labels == label).any():
                    axes.contour(labels == label, [0.5], colors=colour, linewidths=0.8)
    figure.savefig(path, dpi=110)


def draw_bland_altman(rows: Sequence[Row], path: Path) -> None:
    """Draw found minus true over their mean, a panel for each quantity that the rows hold."""
    from matplotlib.figure import Figure

    held = [quantity for quantity in AGREEMENTS if pairs(rows, quantity)[0]]
    columns = min(len(held), 3)
    lines = -(-len(held) // columns)
    figure = Figure(figsize=(4 * columns, 3.2 * lines), layout="constrained")
    for axes, quantity in zip(figure.subplots(lines, columns, squeeze=False).ravel(), held):  # noqa: B905 - the last panels may stay empty
        _panel(axes, quantity, *pairs(rows, quantity))
    for axes in figure.axes[len(held) :]:
        axes.set_axis_off()
    figure.savefig(path, dpi=110)


def _panel(axes: "Axes", quantity: str, found: list[float], truth: list[float]) -> None:
    measured, true = np.array(found), np.array(truth)
    figures, unit = agreement(found, truth), AGREEMENTS[quantity][2]
    axes.scatter((measured + true) / 2, measured - true, s=12)
    for key, style in (("bias", "-"), ("limit_low", "--"), ("limit_high", "--")):
        axes.axhline(figures[key], linestyle=style, color="0.4", linewidth=0.9)
    axes.axhline(0, color="0.8", linewidth=0.6)
    axes.set_title(
        f"{quantity}: bias {figures['bias']:.1f}, limits {figures['limit_low']:.1f} to "
        f"{figures['limit_high']:.1f} (n {len(found)})",
        fontsize=8,
    )
    axes.set_xlabel(f"mean of found and true, {unit}", fontsize=7)
    axes.set_ylabel(f"found minus true, {unit}", fontsize=7)
    axes.tick_params(labelsize=7)
