"""Which instances form a stack, and which pipeline is proposed for it, from headers alone.

The header only proposes: whether a stack shows a short axis is seen from its pixels.
"""

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from config.schema import RouteSettings
from pipeline.case import Float64
from pipeline.grid import frames_of_reference_say_nothing, images, lies_somewhere
from pipeline.headers import InstanceHeader
from pipeline.phases import Cell
from pipeline.planes import (
    ORIENTATION_TOLERANCE_DEG,
    common_axes,
    deviation_deg,
    normal_of,
    slice_numbers,
    unit_axes,
)

MR_IMAGE = "1.2.840.10008.5.1.4.1.1.4"
ENHANCED_MR_IMAGE = "1.2.840.10008.5.1.4.1.1.4.1"
FEWEST_SLICES = 3
FEWEST_PHASES = 2


@dataclass(frozen=True, slots=True)
class Proposal:
    """Instances that belong together.

    Attributes
    ----------
    series_instance_uids : tuple of str
        Sorted.
    pipeline : str or None
        None: left alone.
    reason : str
        Why, in words for an administrator.
    headers : tuple of InstanceHeader
        Every instance of these series.
    """

    series_instance_uids: tuple[str, ...]
    pipeline: str | None
    reason: str
    headers: tuple[InstanceHeader, ...]


@dataclass(frozen=True, slots=True)
class _Shape:
    """Planes of a series: common axes [2, 3], positions along their normal, phases of a slice."""

    axes: Float64
    n_slices: int
    n_phases: int


def propose(
    headers: Iterable[InstanceHeader],
    routes: Sequence[RouteSettings],
    callers: Mapping[str, str] | None = None,
) -> tuple[Proposal, ...]:
    """Group instances into stacks and propose a pipeline for each, or say why none.

    Parameters
    ----------
    headers : iterable of InstanceHeader
        Of one study or of many.
    routes : sequence of RouteSettings
        The first that matches a series wins.
    callers : mapping of SOP Instance UID to AE title, optional
        Who sent each instance; without it routes are not restricted by source.

    Returns
    -------
    tuple of Proposal
        Sorted by series; every instance is in exactly one. A series with several slice positions
        is a stack of its own. Series of one position each that share study, frame of reference,
        orientation, matrix and pixel spacing are one stack together.
    """
    proposals: list[Proposal] = []
    single: list[tuple[Proposal, _Shape]] = []
    for series in _by_series(headers):
        routed = _routed(series, routes, callers)
        shape = _shape(series) if routed.pipeline is not None else None
        if shape is None:
            proposals.append(_unusable(routed) if routed.pipeline is not None else routed)
        elif shape.n_slices == 1 and shape.n_phases >= FEWEST_PHASES and _is_gated(series):
            single.append((routed, shape))
        else:
            proposals.append(_judged(routed, shape))
    for group in _joinable(single):
        proposals.extend(_joined(group))
    return tuple(sorted(proposals, key=lambda proposal: proposal.series_instance_uids))


def _by_series(headers: Iterable[InstanceHeader]) -> list[tuple[InstanceHeader, ...]]:
    series: defaultdict[str, list[InstanceHeader]] = defaultdict(list)
    for header in headers:
        series[header.series_instance_uid].append(header)
    return [
        tuple(sorted(series[uid], key=lambda header: header.sop_instance_uid))
        for uid in sorted(series)
    ]


def _routed(
    series: tuple[InstanceHeader, ...],
    routes: Sequence[RouteSettings],
    callers: Mapping[str, str] | None,
) -> Proposal:
    """Proposal from the rules of the configuration; geometry and time are not looked at."""
    uids = (series[0].series_instance_uid,)
    refusals = [] if (unfit := _unfit(series)) is None else [unfit]
    for route in routes if unfit is None else ():
        refusal = _refusal(series, route, callers)
        if refusal is None:
            return Proposal(uids, route.pipeline, "", series)
        refusals.append(refusal)
    reason = "; ".join(dict.fromkeys(refusals)) or "no route is configured"
    return Proposal(uids, None, f"left alone: {reason}", series)


def _unfit(series: Sequence[InstanceHeader]) -> str | None:
    """Why no route could take a series."""
    if any(header.written_by_node for header in series):
        return "a result this node wrote"
    if all(header.sop_class_uid not in (MR_IMAGE, ENHANCED_MR_IMAGE) for header in series):
        return "no image of a kind the node measures"
    return None


def _refusal(
    series: Sequence[InstanceHeader], route: RouteSettings, callers: Mapping[str, str] | None
) -> str | None:
    """Why a route does not take a series; None when it does."""
    modalities = sorted({header.modality for header in series} - set(route.modality))
    if modalities:
        return f"modality '{modalities[0]}' is not routed"
    excluded = {kind.upper() for kind in route.exclude_image_types}
    kinds = sorted({kind for h in series for kind in h.image_type if kind.upper() in excluded})
    if kinds:
        return f"image type {kinds[0]} is excluded"
    if callers is not None and route.source_ae_titles:
        senders = {callers.get(header.sop_instance_uid) for header in series}
        if not senders & set(route.source_ae_titles):
            return "its sender is not among the source AE titles of the route"
    return _refusal_by_description(series, route)


def _refusal_by_description(series: Sequence[InstanceHeader], route: RouteSettings) -> str | None:
    names = sorted({f"{header.series_description} {header.protocol_name}" for header in series})
    for name in names:
        if not re.search(route.series_description, name):
            return "series description and protocol name do not match the route"
        if route.exclude_series_description and (
            found := re.search(route.exclude_series_description, name)
        ):
            return f"series description or protocol name has '{found[0]}', which is excluded"
    return None


def _shape(series: Sequence[InstanceHeader]) -> _Shape | None:
    """Shape of the images that lie in the plane most share; None without any such."""
    cells = [cell for cell in images(series) if lies_somewhere(cell)]
    planes = [unit_axes(cell.frame.orientation) for cell in cells]
    axes = np.array([plane for plane in planes if plane is not None])
    if not cells:
        return None
    common = common_axes(axes)
    parallel = deviation_deg(axes, common) <= ORIENTATION_TOLERANCE_DEG
    if 2 * np.count_nonzero(parallel) <= len(cells):
        return None
    members = [cell for cell, lies_parallel in zip(cells, parallel, strict=True) if lies_parallel]
    positions = np.array([cell.frame.position_mm for cell in members], dtype=np.float64)
    numbers = slice_numbers(positions @ normal_of(common))
    return _Shape(common, max(numbers) + 1, _phases_of_a_slice(members, numbers))


def _phases_of_a_slice(cells: Sequence[Cell], numbers: Sequence[int]) -> int:
    """Different times in the slice that has most."""
    times: defaultdict[int, set[float | int | None]] = defaultdict(set)
    for cell, number in zip(cells, numbers, strict=True):
        frame = cell.frame
        stated = (frame.trigger_time_ms, frame.temporal_position, frame.clock_ms)
        times[number].add(next((time for time in stated if time is not None), None))
    return max(len(different) for different in times.values())


def _is_gated(series: Sequence[InstanceHeader]) -> bool:
    """Whether headers state times in the heart cycle, or a number of images over it."""
    if any(frame.trigger_time_ms is not None for header in series for frame in header.frames):
        return True
    return any((header.cardiac_images or 0) >= FEWEST_PHASES for header in series)


def _unusable(routed: Proposal) -> Proposal:
    """Leave a series alone of which no common plane is known."""
    if any(lies_somewhere(cell) for cell in images(routed.headers)):
        reason = "planes of several orientations (a localizer or several long axes)"
    else:
        reason = "no image with position, orientation and pixel spacing"
    return replace(routed, pipeline=None, reason=f"left alone: {reason}")


def _judged(routed: Proposal, shape: _Shape) -> Proposal:
    """Proposal of a series by its shape."""
    if shape.n_slices >= FEWEST_SLICES and shape.n_phases >= FEWEST_PHASES:
        if _is_gated(routed.headers):
            reason = f"{shape.n_slices} slice positions with up to {shape.n_phases} phases"
            return replace(routed, reason=reason)
        reason = "no trigger times and no number of cardiac images: not gated to the heart"
    elif shape.n_phases < FEWEST_PHASES:
        reason = "1 cardiac phase only (no cine)"
    elif shape.n_slices == 1:
        reason = "1 slice position only (a long-axis or single-slice cine)"
    else:
        reason = f"{shape.n_slices} slice positions only, a stack has {FEWEST_SLICES} or more"
    return replace(routed, pipeline=None, reason=f"left alone: {reason}")


def _joinable(
    single: Sequence[tuple[Proposal, _Shape]],
) -> list[list[tuple[Proposal, _Shape]]]:
    """Group series of one position each that could be slices of one stack."""
    groups: list[list[tuple[Proposal, _Shape]]] = []
    for proposal, shape in single:
        for group in groups:
            if _belong_together(group[0], (proposal, shape)):
                group.append((proposal, shape))
                break
        else:
            groups.append([(proposal, shape)])
    return groups


def _belong_together(one: tuple[Proposal, _Shape], other: tuple[Proposal, _Shape]) -> bool:
    (first, first_shape), (second, second_shape) = one, other
    tilt_deg = deviation_deg(second_shape.axes[None], first_shape.axes)[0]
    return _stack_key(first) == _stack_key(second) and bool(tilt_deg <= ORIENTATION_TOLERANCE_DEG)


def _stack_key(proposal: Proposal) -> tuple[object, ...]:
    header = proposal.headers[0]
    spacing = header.pixel_spacing_mm
    return (
        proposal.pipeline,
        header.study_instance_uid,
        "" if frames_of_reference_say_nothing(proposal.headers) else header.frame_of_reference_uid,
        header.rows,
        header.columns,
        spacing and tuple(round(mm, 3) for mm in spacing),
    )


def _joined(group: Sequence[tuple[Proposal, _Shape]]) -> list[Proposal]:
    """One stack of series of one position each, or each for itself when it is no stack."""
    headers = tuple(header for proposal, _ in group for header in proposal.headers)
    shape = _shape(headers)
    if shape is None or shape.n_slices < FEWEST_SLICES:
        return [_judged(proposal, single) for proposal, single in group]
    uids = tuple(sorted(uid for proposal, _ in group for uid in proposal.series_instance_uids))
    return [_judged(Proposal(uids, group[0][0].pipeline, "", headers), shape)]
