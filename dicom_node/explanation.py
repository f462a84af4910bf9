"""Pictures of `dicom-node process --explain`: which slices were measured, and what spoke for it."""

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from pipeline.stages.relevance import SliceExplanation

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_COLUMNS = 4
_INCH = 2.4
_MEASURED, _LEFT_OUT = ("measured", "#2e8b57"), ("left out", "#8b2e2e")


def draw_slices(explanation: SliceExplanation, path: Path) -> None:
    """Draw every slice with its probability, and over it where the network sees the LV (PNG)."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    rows = -(-len(explanation.images) // _COLUMNS)
    figure = Figure(figsize=(_COLUMNS * _INCH, rows * (_INCH + 0.3)), layout="constrained")
    FigureCanvasAgg(figure)
    for z, axes in enumerate(figure.subplots(rows, _COLUMNS, squeeze=False).flat):
        axes.set_axis_off()
        if z < len(explanation.images):
            _draw_slice(axes, explanation, z)
    figure.savefig(path, dpi=100)


def _draw_slice(axes: "Axes", explanation: SliceExplanation, z: int) -> None:
    image, seen = explanation.images[z], explanation.seen[z]
    verdict, colour = _MEASURED if explanation.relevant[z] else _LEFT_OUT
    title = f"slice {z + 1}, LV {explanation.probability[z]:.2f}: {verdict}"
    axes.set_title(title, fontsize=8, color=colour)
    axes.imshow(image, cmap="gray", vmax=np.percentile(image, 99.5))
    axes.imshow(seen, cmap="inferno", alpha=0.6 * seen, vmin=0, vmax=1)
