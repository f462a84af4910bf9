"""From the instances of a proposal to one typed stack, cine or late enhancement."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from pydicom import Dataset

from config.schema import CineSettings
from pipeline.case import CineStack, Float32, FrameSource
from pipeline.errors import Rejection
from pipeline.grid import Grid, build_grid
from pipeline.lge_case import LgeStack
from pipeline.lge_choice import choose
from pipeline.phases import Cell, TimedCell
from pipeline.pixels import decode_instance
from pipeline.routing import FEWEST_PHASES, FEWEST_SLICES, Proposal
from pipeline.versions import digest_file

Places = dict[str, list[tuple[int, int, Cell]]]


def assemble(proposal: Proposal, files: Mapping[str, Path], settings: CineSettings) -> CineStack:
    """Read the images of a proposal into one stack.

    Parameters
    ----------
    proposal : Proposal
        Instances that form a stack.
    files : mapping of SOP Instance UID to Path
        Where they lie; DICOM Part 10.
    settings : CineSettings
        `max_missing_fraction` is used.

    Raises
    ------
    Rejection
        As `pipeline.grid.build_grid` and `pipeline.pixels.decode_instance`; ``too_few_slices``,
        ``too_few_phases``, ``too_much_missing``, ``missing_file``.
    OSError
        A file cannot be read now.
    """
    grid = build_grid(proposal.headers)
    _refuse_incomplete(grid, settings.max_missing_fraction)
    return CineStack(
        trigger_times_ms=grid.trigger_times_ms,
        times_are_estimates=grid.times_are_estimates,
        **_stack(grid, files),
    )


def assemble_lge(proposal: Proposal, files: Mapping[str, Path]) -> LgeStack:
    """Read the images of a proposal that count (`pipeline.lge_choice`) into one stack.

    The digests are those of all instances: which ones are left out is part of the result.

    Parameters
    ----------
    proposal : Proposal
        Instances that form a stack.
    files : mapping of SOP Instance UID to Path
        Where they lie; DICOM Part 10.

    Raises
    ------
    Rejection
        As `pipeline.lge_choice.choose` and `pipeline.pixels.decode_instance`; ``too_few_slices``,
        ``missing_file``.
    OSError
        A file cannot be read now.
    """
    choice = choose(proposal.headers)
    grid = choice.grid
    _refuse_few_slices(grid)
    content = _stack(grid, files)
    content["digests"] |= _digests({item.sop_instance_uid for item in choice.left_out}, files)
    cells = [item.cell for item in grid.cells[0] if item is not None]
    return LgeStack(
        inversion_times_ms=tuple(cell.frame.inversion_time_ms for cell in cells),
        phase_sensitive=choice.phase_sensitive,
        left_out=choice.left_out,
        **content,
    )


def grid_of(proposal: Proposal) -> Grid:
    """Grid of a proposal that a pipeline takes, from headers alone; raises as its assembly."""
    if proposal.pipeline == "lge":
        return choose(proposal.headers).grid
    return build_grid(proposal.headers)


def _stack(grid: Grid, files: Mapping[str, Path]) -> dict[str, Any]:
    """What every stack has, see `ShortAxisStack`."""
    frames, headers, digests = _read(grid, files)
    _fill_holes(frames, grid)
    return {
        "frames": frames,
        "sources": tuple(tuple(_source(cell) for cell in row) for row in grid.cells),
        "positions_mm": grid.positions_mm,
        "row_cosines": grid.row_cosines,
        "column_cosines": grid.column_cosines,
        "pixel_spacing_mm": grid.pixel_spacing_mm,
        "slice_spacing_mm": grid.slice_spacing_mm,
        "slice_extent_mm": grid.slice_extent_mm,
        "missing": grid.missing,
        "missing_fraction": grid.missing_fraction,
        "headers": headers,
        "digests": digests,
    }


def _digests(uids: Iterable[str], files: Mapping[str, Path]) -> dict[str, str]:
    return {uid: digest_file(_file_of(uid, files)) for uid in uids}


def _file_of(uid: str, files: Mapping[str, Path]) -> Path:
    if uid not in files:
        raise Rejection("missing_file", "no file is known for it", uid)
    return files[uid]


def _refuse_incomplete(grid: Grid, max_missing_fraction: float) -> None:
    _refuse_few_slices(grid)
    if grid.n_phases < FEWEST_PHASES:
        raise Rejection("too_few_phases", f"{grid.n_phases} cardiac phase; a cine has more")
    if grid.hole_fraction > max_missing_fraction:
        raise Rejection(
            "too_much_missing",
            f"{grid.hole_fraction:.0%} of the images are missing (of the {grid.n_phases} phases "
            f"and {grid.n_slices} slices that were seen), "
            f"{max_missing_fraction:.0%} may be: {'; '.join(grid.missing)}",
        )


def _refuse_few_slices(grid: Grid) -> None:
    if grid.n_slices < FEWEST_SLICES:
        raise Rejection(
            "too_few_slices",
            f"{grid.n_slices} slice positions; a stack has {FEWEST_SLICES} or more",
        )


def _read(
    grid: Grid, files: Mapping[str, Path]
) -> tuple[Float32, dict[str, Dataset], dict[str, str]]:
    """Frames [t, z, y, x], and header and digest per instance; one instance in memory at a time."""
    frames: Float32 | None = None
    headers: dict[str, Dataset] = {}
    digests: dict[str, str] = {}
    for uid, places in sorted(_places(grid).items()):
        decoded = decode_instance(_file_of(uid, files), uid)
        announced = (len(places[0][2].instance.frames), grid.rows, grid.columns)
        stated = decoded.header.get("NumberOfFrames") or announced[0]
        if decoded.images.shape != announced or stated != announced[0]:
            raise Rejection("unreadable_pixels", "its pixels are not what its header says", uid)
        if frames is None:  # only now is the size known to be true
            shape = (grid.n_phases, grid.n_slices, grid.rows, grid.columns)
            frames = np.zeros(shape, np.float32)
        for t, z, cell in places:
            frames[t, z] = decoded.images[(cell.frame.frame_number or 1) - 1]
        headers[uid], digests[uid] = decoded.header, decoded.digest
    if frames is None:
        raise Rejection("no_images", "no instance holds an image")
    return frames, headers, digests


def _places(grid: Grid) -> Places:
    """Cells that each instance feeds, with their phase and slice."""
    places: Places = defaultdict(list)
    for t, row in enumerate(grid.cells):
        for z, item in enumerate(row):
            if item is not None:
                places[item.cell.instance.sop_instance_uid].append((t, z, item.cell))
    return places


def _fill_holes(frames: Float32, grid: Grid) -> None:
    """Show the temporally nearest image of the slice, the earlier of two, where one is missing."""
    for z in range(grid.n_slices):
        there = [t for t in range(grid.n_phases) if grid.cells[t][z] is not None]
        for t in range(grid.n_phases):
            frames[t, z] = frames[min(there, key=lambda other: abs(other - t)), z]


def _source(item: TimedCell | None) -> FrameSource | None:
    if item is None:
        return None
    header, frame = item.cell.instance, item.cell.frame
    return FrameSource(
        sop_instance_uid=header.sop_instance_uid,
        sop_class_uid=header.sop_class_uid,
        series_instance_uid=header.series_instance_uid,
        frame_number=frame.frame_number,
        trigger_time_ms=item.time_ms,
    )
