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
from pipeline.grid import (
    frames_of_reference_say_nothing,
    images,
    lies_somewhere,
    slices_along,
)
from pipeline.headers import InstanceHeader
from pipeline.phases import TRIGGER_TIME, Cell, timed, usual_span_ms
from pipeline.planes import (
    ORIENTATION_TOLERANCE_DEG,
    common_axes,
    deviation_deg,
    unit_axes,
)

MR_IMAGE = "1.2.840.10008.5.1.4.1.1.4"
ENHANCED_MR_IMAGE = "1.2.840.10008.5.1.4.1.1.4.1"
FEWEST_SLICES = 3
FEWEST_PHASES = 2
# A heart that beats 20 times a minute; times over a longer span are not those of one cycle.
LONGEST_BEAT_MS = 3000.0
# What may stand in a CS value (PS3.5 6.2); a sender may put anything there, and reasons are logged.
_CODE = re.compile(r"[A-Z0-9_ ]{0,16}")


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
        Instances of these series, by SOP Instance UID within each.
    """

    series_instance_uids: tuple[str, ...]
    pipeline: str | None
    reason: str
    headers: tuple[InstanceHeader, ...]


@dataclass(frozen=True, slots=True)
class _Shape:
    """Planes and times of the images of a proposal.

    `axes` [2, 3] are those of the plane most images share, None where less than half do;
    `n_phases` is the number of different times in the slice that has most.
    """

    axes: Float64 | None
    n_slices: int = 0
    n_phases: int = 0
    gated: bool = False
    span_ms: float = 0.0


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
        is a stack of its own; what no route takes of it is a proposal beside it. Series of one
        position each that share study, frame of reference, orientation, matrix and pixel spacing
        are one stack together.
    """
    proposals: list[Proposal] = []
    single: list[tuple[Proposal, _Shape]] = []
    for routed in _routed(headers, routes, callers):
        if routed.pipeline is None:
            proposals.append(routed)
            continue
        shape = _shape(routed.headers)
        if shape.n_slices == 1 and _why_no_cine(shape) is None:
            single.append((routed, shape))
        else:
            proposals.append(_judged(routed, shape))
    for group in _joinable(single):
        proposals.extend(_joined(group))
    return tuple(sorted(proposals, key=_order))


def _order(proposal: Proposal) -> tuple[object, ...]:
    return proposal.series_instance_uids, proposal.pipeline or "", proposal.reason


def _routed(
    headers: Iterable[InstanceHeader],
    routes: Sequence[RouteSettings],
    callers: Mapping[str, str] | None,
) -> list[Proposal]:
    """Proposals by the rules of the configuration; geometry and time are not looked at.

    A series is one proposal; what no route takes of it (phase images beside magnitude images, a
    derived one) is another.
    """
    groups: defaultdict[tuple[str, str | None, str], list[InstanceHeader]] = defaultdict(list)
    for header in sorted(headers, key=lambda header: header.sop_instance_uid):
        caller = callers.get(header.sop_instance_uid) if callers is not None else None
        pipeline, reason = _decision(header, routes, caller)
        groups[header.series_instance_uid, pipeline, reason].append(header)
    return [
        Proposal((series,), pipeline, reason, tuple(members))
        for (series, pipeline, reason), members in groups.items()
    ]


def _decision(
    header: InstanceHeader, routes: Sequence[RouteSettings], caller: str | None
) -> tuple[str | None, str]:
    """Pipeline of the first route that takes an instance; or None, and why none does."""
    if header.written_by_node:
        return None, "left alone: a result this node wrote"
    if header.sop_class_uid not in (MR_IMAGE, ENHANCED_MR_IMAGE):
        return None, "left alone: no image of a kind the node measures"
    refusals = []
    for route in routes:
        refusal = _refusal(header, route, caller)
        if refusal is None:
            return route.pipeline, ""
        refusals.append(refusal)
    return None, f"left alone: {'; '.join(dict.fromkeys(refusals)) or 'no route is configured'}"


def _refusal(header: InstanceHeader, route: RouteSettings, caller: str | None) -> str | None:
    """Why a route does not take an instance; None when it does."""
    if header.modality not in route.modality:
        name = header.modality if _CODE.fullmatch(header.modality) else "unknown"
        return f"modality '{name}' is not routed"
    excluded = {kind.upper() for kind in route.exclude_image_types}
    for kind in header.image_type:
        if kind.upper() in excluded:
            return f"image type {kind} is excluded"
    if caller is not None and route.source_ae_titles and caller not in route.source_ae_titles:
        return "its sender is not among the source AE titles of the route"
    return _refusal_by_description(header, route)


def _refusal_by_description(header: InstanceHeader, route: RouteSettings) -> str | None:
    name = f"{header.series_description} {header.protocol_name}"
    if not re.search(route.series_description, name):
        return "series description and protocol name do not match the route"
    if route.exclude_series_description and re.search(route.exclude_series_description, name):
        return "series description or protocol name is one that the route excludes"
    return None


def _shape(headers: Sequence[InstanceHeader]) -> _Shape:
    cells = [cell for cell in images(headers) if lies_somewhere(cell)]
    if not cells:
        return _Shape(None)
    axes = np.array([unit_axes(cell.frame.orientation) for cell in cells], dtype=np.float64)
    common = common_axes(axes)
    parallel = np.flatnonzero(deviation_deg(axes, common) <= ORIENTATION_TOLERANCE_DEG)
    if 2 * len(parallel) <= len(cells):
        return _Shape(None, n_slices=len(cells))
    slices, _ = slices_along([cells[int(index)] for index in parallel], common)
    found = timed(slices) or timed(_with_trigger_time(slices))
    if found is None:
        return _Shape(common, len(slices), n_phases=1)
    source, rows = found
    by_trigger = source == TRIGGER_TIME
    cardiac_images = max((header.cardiac_images or 0 for header in headers), default=0)
    return _Shape(
        common,
        len(slices),
        n_phases=max(len({item.time_ms for item in row}) for row in rows),
        gated=by_trigger or cardiac_images >= FEWEST_PHASES,
        span_ms=usual_span_ms(rows) if by_trigger else 0.0,
    )


def _with_trigger_time(slices: Sequence[Sequence[Cell]]) -> list[list[Cell]]:
    """Images that have a trigger time, where most have; the grid names those without."""
    cells = [[cell for cell in row if cell.frame.trigger_time_ms is not None] for row in slices]
    most = 2 * sum(map(len, cells)) > sum(map(len, slices))
    return [row for row in cells if row] if most else []


def _judged(routed: Proposal, shape: _Shape) -> Proposal:
    """Proposal of a series by its shape."""
    why_not = _why_no_cine(shape) or _why_no_stack(shape)
    if why_not is not None:
        return replace(routed, pipeline=None, reason=f"left alone: {why_not}")
    reason = f"{shape.n_slices} slice positions with up to {shape.n_phases} phases"
    return replace(routed, reason=reason)


def _why_no_cine(shape: _Shape) -> str | None:
    if shape.axes is None:
        if shape.n_slices:
            return "planes of several orientations (a localizer or several long axes)"
        return "no image with position, orientation and pixel spacing"
    if shape.n_phases < FEWEST_PHASES:
        return "1 cardiac phase only (no cine)"
    if not shape.gated:
        return "no trigger times and no number of cardiac images: not gated to the heart"
    if shape.span_ms > LONGEST_BEAT_MS:
        return f"times of a slice span {shape.span_ms / 1000:.3g} s: not one heart beat"
    return None


def _why_no_stack(shape: _Shape) -> str | None:
    if shape.n_slices == 1:
        return "1 slice position only (a long-axis or single-slice cine)"
    if shape.n_slices < FEWEST_SLICES:
        return f"{shape.n_slices} slice positions only, a stack has {FEWEST_SLICES} or more"
    return None


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
    if first_shape.axes is None or second_shape.axes is None:
        return False
    tilt_deg = deviation_deg(second_shape.axes[None], first_shape.axes)[0]
    return _stack_key(first) == _stack_key(second) and bool(tilt_deg <= ORIENTATION_TOLERANCE_DEG)


def _stack_key(proposal: Proposal) -> tuple[object, ...]:
    header = proposal.headers[0]
    spacing = header.pixel_spacing_mm
    own_frames = frames_of_reference_say_nothing(proposal.headers)
    return (
        proposal.pipeline,
        header.study_instance_uid,
        "" if own_frames else header.frame_of_reference_uid,
        header.rows,
        header.columns,
        spacing and tuple(round(mm, 3) for mm in spacing),
    )


def _joined(group: Sequence[tuple[Proposal, _Shape]]) -> list[Proposal]:
    """One stack of series of one position each, or each for itself when it is no stack."""
    headers = tuple(header for proposal, _ in group for header in proposal.headers)
    shape = _shape(headers)
    if shape.n_slices < FEWEST_SLICES:
        return [_judged(proposal, single) for proposal, single in group]
    uids = tuple(sorted(uid for proposal, _ in group for uid in proposal.series_instance_uids))
    return [_judged(Proposal(uids, group[0][0].pipeline, "", headers), shape)]
