"""Which instances form a stack, and which pipeline is proposed for it, from headers alone.

The header only proposes: whether a stack shows a short axis is seen from its pixels.
"""

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from config.schema import RouteSettings
from pipeline import pictures
from pipeline.belonging import (
    frames_of_reference_say_nothing,
    images,
    lies_somewhere,
    slices_along,
)
from pipeline.case import Float64
from pipeline.headers import InstanceHeader
from pipeline.lge_choice import Kind, kind_of
from pipeline.phases import TRIGGER_TIME, Cell, timed, usual_span_ms
from pipeline.planes import (
    ORIENTATION_TOLERANCE_DEG,
    SAME_PLACE_MM,
    common_axes,
    deviation_deg,
    normal_of,
    unit_axes,
)

MR_IMAGE = "1.2.840.10008.5.1.4.1.1.4"
ENHANCED_MR_IMAGE = "1.2.840.10008.5.1.4.1.1.4.1"
_OF_STACKS = frozenset({MR_IMAGE, ENHANCED_MR_IMAGE})
FEWEST_SLICES = 3
FEWEST_PHASES = 2
# A heart that beats 20 times a minute; times over a longer span are not those of one cycle.
LONGEST_BEAT_MS = 3000.0
# Averages and repeats of one cardiac phase are triggered within this; the phases of a cine span
# more, even if they are ED and ES alone.
SAME_PHASE_MS = 100.0
# What a phase-sensitive image may be called without being left alone for it.
_PHASE_SENSITIVE_PASSES = frozenset({"DERIVED", "P"})
# What may stand in a CS value (PS3.5 6.2); a sender may put anything there, and reasons are logged.
_CODE = re.compile(r"[A-Z0-9_ ]{0,16}")

# What a pattern found is told only where it spells it out: a description may name the patient.
_TAKES_ANYTHING = re.compile(r"(\.|\]|\)|\\[A-Za-z])[*+{]")
_LONGEST_WORD = 16


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
    `n_phases` is the number of different times in the slice that has most, `places_mm` [z, 3] where
    the slices lie.
    """

    axes: Float64 | None
    n_slices: int = 0
    n_phases: int = 0
    gated: bool = False
    by_trigger: bool = False
    span_ms: float = 0.0
    inverted: bool = False
    places_mm: Float64 | None = None

    @property
    def one_phase(self) -> bool:
        """Whether the images of a slice are of one cardiac phase."""
        if self.n_phases < FEWEST_PHASES or not self.gated:
            return True
        return self.by_trigger and self.span_ms < SAME_PHASE_MS


@dataclass(frozen=True, slots=True)
class _Candidate:
    """Instances of one series that the same routes take by header, or none for a reason."""

    series_instance_uid: str
    pipelines: tuple[str, ...]
    reason: str
    headers: tuple[InstanceHeader, ...]

    def proposed(self, pipeline: str | None, reason: str) -> Proposal:
        return Proposal((self.series_instance_uid,), pipeline, reason, self.headers)


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
        Sorted by series; every instance is in exactly one. A cine series with several slice
        positions is a stack of its own; what no route takes of it is a proposal beside it. Series
        of one position each that share study, frame of reference, orientation, matrix and pixel
        spacing are one stack together. So are late enhancement series whose slices, at least half
        of them, lie at the same places: magnitude beside phase-sensitive, or taken again. What
        is no stack is grouped by `pipeline.pictures`.
    """
    proposals: list[Proposal] = []
    joinable: list[tuple[Proposal, _Shape]] = []
    of_pictures: defaultdict[str, list[InstanceHeader]] = defaultdict(list)
    for candidate in _routed(headers, routes, callers):
        if candidate.pipelines and candidate.pipelines[0] in pictures.PICTURE_PIPELINES:
            of_pictures[candidate.pipelines[0]].extend(candidate.headers)
            continue
        proposal, shape = _by_shape(candidate)
        if proposal.pipeline == "lge" or (proposal.pipeline and shape.n_slices == 1):
            joinable.append((proposal, shape))
        else:
            proposals.append(_judged(proposal, shape))
    for group in _joinable(joinable):
        proposals.extend(_joined(group))
    for pipeline, members in of_pictures.items():
        for reason, case in pictures.cases(pipeline, members):
            series = tuple(sorted({header.series_instance_uid for header in case}))
            proposals.append(Proposal(series, pipeline, reason, case))
    return tuple(sorted(proposals, key=_order))


def _order(proposal: Proposal) -> tuple[object, ...]:
    first = proposal.headers[0].sop_instance_uid
    return proposal.series_instance_uids, proposal.pipeline or "", proposal.reason, first


def _routed(
    headers: Iterable[InstanceHeader],
    routes: Sequence[RouteSettings],
    callers: Mapping[str, str] | None,
) -> list[_Candidate]:
    """Candidates by the rules of the configuration; geometry and time are not looked at.

    A series is one; what no route takes of it (phase images beside magnitude images, a derived
    one) is another.
    """
    groups: defaultdict[tuple[str, tuple[str, ...], str], list[InstanceHeader]] = defaultdict(list)
    for header in sorted(headers, key=lambda header: header.sop_instance_uid):
        caller = callers.get(header.sop_instance_uid) if callers is not None else None
        pipelines, reason = _decision(header, routes, caller)
        groups[header.series_instance_uid, pipelines, reason].append(header)
    return [
        _Candidate(series, pipelines, reason, tuple(members))
        for (series, pipelines, reason), members in groups.items()
    ]


def _by_shape(candidate: _Candidate) -> tuple[Proposal, _Shape]:
    """Propose the first pipeline whose images look like those of the series, or none."""
    if not candidate.pipelines:
        return candidate.proposed(None, candidate.reason), _Shape(None)
    shape = _shape(candidate.headers)
    refusals = []
    for pipeline in candidate.pipelines:
        refusal = _why_not(pipeline, shape)
        if refusal is None:
            return candidate.proposed(pipeline, ""), shape
        refusals.append(refusal)
    return candidate.proposed(None, f"left alone: {'; '.join(dict.fromkeys(refusals))}"), shape


def _decision(
    header: InstanceHeader, routes: Sequence[RouteSettings], caller: str | None
) -> tuple[tuple[str, ...], str]:
    """Pipelines of the routes that take an instance, in their order; or why none does."""
    if header.written_by_node:
        return (), "left alone: a result this node wrote"
    uid = header.sop_class_uid
    reading = [r for r in routes if uid in pictures.SOP_CLASSES.get(r.pipeline, _OF_STACKS)]
    if routes and not reading:
        return (), "left alone: no image of a kind the node measures"
    refusals = {route: _refusal(header, route, caller) for route in reading}
    taken = [route.pipeline for route, refusal in refusals.items() if refusal is None]
    if taken:
        return tuple(dict.fromkeys(taken)), ""
    reasons = dict.fromkeys(reason for reason in refusals.values() if reason)
    return (), f"left alone: {'; '.join(reasons) or 'no route is configured'}"


def _refusal(header: InstanceHeader, route: RouteSettings, caller: str | None) -> str | None:
    """Why a route does not take an instance; None when it does."""
    if header.modality not in route.modality:
        name = header.modality if _CODE.fullmatch(header.modality) else "unknown"
        return f"modality '{name}' is not routed"
    excluded = {kind.upper() for kind in route.exclude_image_types}
    if route.pipeline == "lge" and kind_of(header) is Kind.PHASE_SENSITIVE:
        excluded -= _PHASE_SENSITIVE_PASSES
    for kind in header.image_type:
        if kind.upper() in excluded:
            return f"image type {kind} is excluded by the {route.pipeline} route"
    if caller is not None and route.source_ae_titles and caller not in route.source_ae_titles:
        return f"its sender is not among the source AE titles of the {route.pipeline} route"
    return _refusal_by_description(header, route) or pictures.why_no_picture(route, header)


def _refusal_by_description(header: InstanceHeader, route: RouteSettings) -> str | None:
    name = f"{header.series_description} {header.protocol_name} {header.document_title}"
    if route.undescribed_with_inversion_time and not name.strip() and _is_inverted(header):
        return None
    if not pictures.is_coded_ecg(header) and not re.search(route.series_description, name):
        what = "series description and protocol name"
        if header.sop_class_uid == pictures.ENCAPSULATED_PDF:
            what = "series description, title and code of the document"
        return f"{what} do not match the {route.pipeline} route"
    pattern = route.exclude_series_description
    excluded = re.search(pattern, name) if pattern else None
    if excluded is None:
        return None
    word = excluded[0].strip()
    told = 0 < len(word) <= _LONGEST_WORD and not _TAKES_ANYTHING.search(pattern)
    said = f"holds '{word}', which" if told else "is one that"
    return f"series description or protocol name {said} the {route.pipeline} route excludes"


def _is_inverted(header: InstanceHeader) -> bool:
    return any(frame.inversion_time_ms is not None for frame in header.frames)


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
    places_mm = np.array([row[0].frame.position_mm for row in slices], dtype=np.float64)
    found = timed(slices) or timed(_with_trigger_time(slices))
    if found is None:
        return _Shape(common, len(slices), n_phases=1, places_mm=places_mm)
    source, rows = found
    by_trigger = source == TRIGGER_TIME
    cardiac_images = max((header.cardiac_images or 0 for header in headers), default=0)
    return _Shape(
        common,
        len(slices),
        n_phases=max(len({item.time_ms for item in row}) for row in rows),
        gated=by_trigger or cardiac_images >= FEWEST_PHASES,
        by_trigger=by_trigger,
        span_ms=usual_span_ms(rows) if by_trigger else 0.0,
        inverted=any(_is_inverted(header) for header in headers),
        places_mm=places_mm,
    )


def _with_trigger_time(slices: Sequence[Sequence[Cell]]) -> list[list[Cell]]:
    """Images that have a trigger time, where most have; the grid names those without."""
    cells = [[cell for cell in row if cell.frame.trigger_time_ms is not None] for row in slices]
    most = 2 * sum(map(len, cells)) > sum(map(len, slices))
    return [row for row in cells if row] if most else []


def _judged(routed: Proposal, shape: _Shape) -> Proposal:
    """Proposal of a series by its shape; one that no pipeline takes stays as it is."""
    if routed.pipeline is None:
        return routed
    why_not = _why_not(routed.pipeline, shape) or _why_no_stack(routed.pipeline, shape)
    if why_not is not None:
        return replace(routed, pipeline=None, reason=f"left alone: {why_not}")
    if routed.pipeline == "lge":
        return replace(routed, reason=f"{shape.n_slices} slice positions of late enhancement")
    reason = f"{shape.n_slices} slice positions with up to {shape.n_phases} phases"
    return replace(routed, reason=reason)


def _why_not(pipeline: str, shape: _Shape) -> str | None:
    """Why a pipeline does not take images of this shape; None when it does."""
    if shape.axes is None:
        if shape.n_slices:
            return "planes of several orientations (a localizer or several long axes)"
        return "no image with position, orientation and pixel spacing"
    return _why_no_lge(shape) if pipeline == "lge" else _why_no_cine(shape)


def _why_no_lge(shape: _Shape) -> str | None:
    return None if shape.one_phase else "several cardiac phases (no late enhancement)"


def _why_no_cine(shape: _Shape) -> str | None:
    if shape.n_phases < FEWEST_PHASES:
        return "1 cardiac phase only (no cine)"
    if not shape.gated:
        return "no trigger times and no number of cardiac images: not gated to the heart"
    if shape.span_ms > LONGEST_BEAT_MS:
        return f"times of a slice span {shape.span_ms / 1000:.3g} s: not one heart beat"
    if shape.inverted and shape.one_phase:
        return "1 cardiac phase only, with inversion, taken several times (no cine)"
    return None


def _why_no_stack(pipeline: str, shape: _Shape) -> str | None:
    if shape.n_slices == 1:
        words = "image" if pipeline == "lge" else "cine"
        return f"1 slice position only (a long-axis or single-slice {words})"
    if shape.n_slices < FEWEST_SLICES:
        return f"{shape.n_slices} slice positions only, a stack has {FEWEST_SLICES} or more"
    return None


def _joinable(
    found: Sequence[tuple[Proposal, _Shape]],
) -> list[list[tuple[Proposal, _Shape]]]:
    """Group series that could be one stack; the ones with most slices first."""
    groups: list[list[tuple[Proposal, _Shape]]] = []
    for proposal, shape in sorted(found, key=lambda item: -item[1].n_slices):
        for group in groups:
            if _belong_together(group[0], (proposal, shape)) and any(
                _share_places(shape, other) for _, other in group
            ):
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


def _share_places(one: _Shape, other: _Shape) -> bool:
    """Whether at least half of the slices of the shorter one lie where the other has some.

    Series of one position each share none: they are slices of one stack.
    """
    if one.axes is None or one.places_mm is None or other.places_mm is None:
        return False
    if one.n_slices == other.n_slices == 1:
        return True
    normal = normal_of(one.axes)
    apart_mm = np.abs((one.places_mm @ normal)[:, None] - other.places_mm @ normal)
    shorter = apart_mm.min(axis=1 if one.n_slices <= other.n_slices else 0)
    return bool(2 * np.count_nonzero(shorter <= SAME_PLACE_MM) >= len(shorter))


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
        header.acquisition_type if proposal.pipeline == "lge" else "",
    )


def _joined(group: Sequence[tuple[Proposal, _Shape]]) -> list[Proposal]:
    """One stack of several series, or each for itself when it is no stack."""
    headers = tuple(header for proposal, _ in group for header in proposal.headers)
    shape = _shape(headers)
    if shape.n_slices < FEWEST_SLICES:
        return [_judged(proposal, single) for proposal, single in group]
    uids = tuple(sorted(uid for proposal, _ in group for uid in proposal.series_instance_uids))
    if group[0][0].pipeline == "lge":  # a stack taken again may be triggered at another time
        shape = replace(shape, n_phases=1)
    return [_judged(Proposal(uids, group[0][0].pipeline, "", headers), shape)]
