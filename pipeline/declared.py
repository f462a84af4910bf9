"""What the headers of a stack say there is, be it there or not."""

from collections import Counter
from collections.abc import Sequence

from pipeline.phases import Cell


def declared_phases(cells: Sequence[Cell], n_slices: int) -> int | None:
    """Phases per slice as most headers declare: CardiacNumberOfImages, else temporal positions.

    Some count the images of all slices there.
    """
    declared = Counter(
        cell.instance.cardiac_images or cell.instance.temporal_positions for cell in cells
    ).most_common(1)[0][0]
    if declared is not None and n_slices > 1 and declared == len(cells):
        return declared // n_slices
    return declared if declared and declared > 0 else None


def declared_instances(cells: Sequence[Cell], n_slices: int) -> int | None:
    """Instances of all series as their headers declare (ImagesInAcquisition).

    None where a series declares nothing or two counts, or where an acquisition is one slice only.
    """
    by_series: dict[str, set[int | None]] = {}
    for cell in cells:
        declared = by_series.setdefault(cell.instance.series_instance_uid, set())
        declared.add(cell.instance.images_in_acquisition)
    if any(len(counts) > 1 for counts in by_series.values()):
        return None
    counts = [count for stated in by_series.values() for count in stated]
    if not all(counts):
        return None
    total = sum(count for count in counts if count)
    phases = declared_phases(cells, n_slices)
    one_slice_each = n_slices > len(by_series) and total == len(by_series) * (phases or 0)
    return None if one_slice_each else total
