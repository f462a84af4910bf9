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
    """Instances of the whole stack as all headers declare alike (ImagesInAcquisition).

    None where they declare nothing or different counts, or where an acquisition is one slice.
    """
    declared = {cell.instance.images_in_acquisition for cell in cells}
    count = declared.pop() if len(declared) == 1 else None
    of_a_slice = max(declared_phases(cells, n_slices) or 0, -(-len(cells) // n_slices))
    return count if count and count > of_a_slice else None
