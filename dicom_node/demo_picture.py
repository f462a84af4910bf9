"""The picture of the demonstration: ED and ES with contours as sent back, and the volume curve."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from pydicom import Dataset, dcmread

from pipeline.findings import PhaseFinding, SeriesFindings

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# In the order of drawing: the cavity lies over the inner border of the myocardium.
COLOURS = {"RV cavity": "#4da3ff", "LV myocardium": "#4dff6a", "LV cavity": "#ff4d4d"}

Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class _Image:
    """A source image: an instance, and the one-based frame of a multi-frame one."""

    sop_instance_uid: str
    frame: int | None


def draw(
    findings: SeriesFindings, masks: Sequence[Dataset], files: Mapping[str, Path], path: Path
) -> None:
    """Draw ED and ES mid-slices with the returned contours beside the volume curve.

    Parameters
    ----------
    findings : SeriesFindings
        Of a completed cine stack.
    masks : sequence of Dataset
        The SEG objects as the archive gave them back.
    files : mapping of SOP Instance UID to Path
        The source images.
    path : Path
        PNG to write.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(13, 4.4), layout="constrained")
    FigureCanvasAgg(figure)
    left, middle, right = figure.subplots(1, 3)
    if findings.phases is not None:
        _draw_phase(left, "ED", findings.phases.ed, masks, files)
        _draw_phase(middle, "ES", findings.phases.es, masks, files)
    _draw_curve(right, findings)
    figure.savefig(path, dpi=110)


def _draw_phase(
    axes: "Axes",
    name: str,
    phase: PhaseFinding,
    masks: Sequence[Dataset],
    files: Mapping[str, Path],
) -> None:
    """Draw the image of one phase with the largest LV cavity, and its contours."""
    axes.set_axis_off()
    axes.set_title(f"{name}: phase {phase.index + 1}, {phase.trigger_time_ms:.0f} ms")
    images: dict[_Image, dict[str, Mask]] = {}
    for seg in masks:
        if name in str(seg.SeriesDescription).split():
            _collect(seg, images)
    if not images:
        return
    image, segments = max(images.items(), key=lambda item: _area(item[1]))
    pixels = dcmread(files[image.sop_instance_uid]).pixel_array
    pixels = pixels[image.frame - 1] if image.frame else pixels
    axes.imshow(pixels, cmap="gray", vmax=np.percentile(pixels, 99.5))
    for label in (label for label in COLOURS if label in segments):
        axes.contour(segments[label], [0.5], colors=COLOURS[label], linewidths=1.2)
    rows, columns = np.nonzero(np.any(list(segments.values()), axis=0))
    margin = 30
    axes.set_xlim(columns.min() - margin, columns.max() + margin)
    axes.set_ylim(rows.max() + margin, rows.min() - margin)


def _collect(seg: Dataset, images: dict[_Image, dict[str, Mask]]) -> None:
    """Sort the frames of a SEG by the source image and the segment they belong to."""
    labels = {item.SegmentNumber: str(item.SegmentLabel) for item in seg.SegmentSequence}
    frames = seg.pixel_array.reshape(-1, seg.Rows, seg.Columns)
    for frame, groups in zip(frames, seg.PerFrameFunctionalGroupsSequence, strict=True):
        source = groups.DerivationImageSequence[0].SourceImageSequence[0]
        frame_number = source.get("ReferencedFrameNumber")
        image = _Image(source.ReferencedSOPInstanceUID, int(frame_number) if frame_number else None)
        number = groups.SegmentIdentificationSequence[0].ReferencedSegmentNumber
        images.setdefault(image, {})[labels[number]] = frame.astype(bool)


def _area(segments: Mapping[str, Mask]) -> int:
    return int(segments["LV cavity"].sum()) if "LV cavity" in segments else 0


def _draw_curve(axes: "Axes", findings: SeriesFindings) -> None:
    from matplotlib.ticker import MaxNLocator

    axes.set_title("Volume curve")
    axes.set_xlabel("cardiac phase")
    axes.set_ylabel("ml")
    curve = findings.volume_curve_ml
    if curve is None:
        return
    for label, values in (("LV cavity", curve.lv), ("RV cavity", curve.rv)):
        if values is not None:
            phases = range(1, len(values) + 1)
            axes.plot(phases, values, "o-", color=COLOURS[label], label=label, markersize=3)
    if findings.phases is not None:
        for name, phase in (("ED", findings.phases.ed), ("ES", findings.phases.es)):
            axes.axvline(phase.index + 1, color="grey", linestyle=":")
            axes.annotate(name, (phase.index + 1, 0.02), xycoords=("data", "axes fraction"))
    axes.set_ylim(bottom=0)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.legend()
