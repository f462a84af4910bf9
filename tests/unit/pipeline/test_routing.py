"""Which instances form a stack, and why others are left alone."""

import random
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from config.schema import CINE_ROUTE, RouteSettings
from pipeline.errors import Rejection
from pipeline.grid import build_grid
from pipeline.headers import InstanceHeader, read_header
from pipeline.routing import ENHANCED_MR_IMAGE, Proposal, propose
from tests.unit.pipeline.dicom_cases import (
    COLUMN,
    NORMAL,
    ROW,
    SERIES,
    frame_header,
    instance_header,
    stack_headers,
    with_frame,
)

ROUTES = (CINE_ROUTE,)


def stack(**changed: object) -> list[InstanceHeader]:
    return list(stack_headers(5, 8, **changed).values())


def only(headers: list[InstanceHeader], routes: tuple[RouteSettings, ...] = ROUTES) -> Proposal:
    (proposal,) = propose(headers, routes)
    return proposal


def left_alone(headers: list[InstanceHeader], words: str) -> None:
    proposal = only(headers)
    assert proposal.pipeline is None
    assert proposal.reason.startswith("left alone: ")
    assert words in proposal.reason


def series_per_slice(slices: int = 5, phases: int = 8) -> list[InstanceHeader]:
    return [
        replace(header, series_instance_uid=f"1.5.{z}")
        for (_, z), header in stack_headers(slices, phases).items()
    ]


def test_a_series_of_several_positions_is_one_stack() -> None:
    proposal = only(stack())
    assert (proposal.pipeline, proposal.series_instance_uids) == ("cine", (SERIES,))
    assert proposal.reason == "5 slice positions with up to 8 phases"
    assert len(proposal.headers) == 40


def test_series_of_one_position_each_are_one_stack() -> None:
    proposal = only(series_per_slice())
    assert proposal.pipeline == "cine"
    assert proposal.series_instance_uids == tuple(f"1.5.{z}" for z in range(5))
    assert len(proposal.headers) == 40


def test_two_series_of_one_position_are_no_stack() -> None:
    proposals = propose(series_per_slice(2), ROUTES)
    assert [p.series_instance_uids for p in proposals] == [("1.5.0",), ("1.5.1",)]
    assert {p.reason for p in proposals} == {
        "left alone: 1 slice position only (a long-axis or single-slice cine)"
    }


@pytest.mark.parametrize(
    "change",
    [
        {"study_instance_uid": "1.7"},
        {"frame_of_reference_uid": "1.7"},
        {"rows": 99},
        {"columns": 99},
    ],
)
def test_a_series_that_does_not_fit_is_not_joined(change: dict[str, object]) -> None:
    headers = [
        replace(header, **change) if header.series_instance_uid == "1.5.2" else header
        for header in series_per_slice()
    ]
    proposals = propose(headers, ROUTES)
    assert [(p.pipeline, len(p.series_instance_uids)) for p in proposals] == [
        ("cine", 4),
        (None, 1),
    ]
    assert "1 slice position only" in proposals[1].reason


def test_another_orientation_or_spacing_is_not_joined() -> None:
    tilt = np.radians(8)
    tilted = (*map(float, np.cos(tilt) * ROW + np.sin(tilt) * NORMAL), *map(float, COLUMN))
    for change in ({"orientation": tilted}, {"pixel_spacing_mm": (1.5, 1.5)}):
        headers = [
            with_frame(header, **change) if header.series_instance_uid == "1.5.2" else header
            for header in series_per_slice()
        ]
        assert [p.pipeline for p in propose(headers, ROUTES)] == ["cine", None]


def test_single_phase_series_is_not_joined() -> None:
    scout = replace(instance_header("9.9", frame_header(80.0, 10.0)), series_instance_uid="1.5.9")
    proposals = propose([*series_per_slice(), scout], ROUTES)
    assert [(p.pipeline, len(p.headers)) for p in proposals] == [("cine", 40), (None, 1)]
    assert "1 cardiac phase only" in proposals[1].reason


def test_series_whose_instances_share_no_frame_of_reference_are_joined() -> None:
    headers = [
        replace(header, frame_of_reference_uid=f"1.7.{number}")
        for number, header in enumerate(series_per_slice())
    ]
    proposal = only(headers)
    assert proposal.pipeline == "cine"
    assert build_grid(proposal.headers).n_slices == 5


@given(st.randoms(use_true_random=False))
def test_every_instance_is_in_one_proposal_whatever_the_order(rng: random.Random) -> None:
    headers = [
        *stack(),
        *(replace(h, sop_instance_uid=f"7.{h.sop_instance_uid}") for h in series_per_slice(4, 3)),
        instance_header("8.1", sop_class_uid="1.2.840.10008.5.1.4.1.1.88.34"),
        replace(stack()[0], sop_instance_uid="8.2", image_type=("DERIVED",)),
    ]
    expected = propose(headers, ROUTES)
    rng.shuffle(headers)
    assert propose(headers, ROUTES) == expected
    uids = [header.sop_instance_uid for proposal in expected for header in proposal.headers]
    assert sorted(uids) == sorted(header.sop_instance_uid for header in headers)


def test_nothing_gives_nothing() -> None:
    assert propose([], ROUTES) == ()


def test_enhanced_instance_is_a_stack() -> None:
    frames = [
        frame_header(8.0 * z, 40.0 * t, frame_number=5 * z + t) for z in range(4) for t in range(5)
    ]
    header = instance_header("1.2", *frames, sop_class_uid=ENHANCED_MR_IMAGE)
    assert only([header]).pipeline == "cine"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"written_by_node": True}, "a result this node wrote"),
        ({"sop_class_uid": "1.2.840.10008.5.1.4.1.1.7"}, "no image of a kind the node measures"),
        ({"modality": "CT"}, "modality 'CT' is not routed"),
        (
            {"image_type": ("derived", "PRIMARY")},
            "image type derived is excluded by the cine route",
        ),
        ({"image_type": ("ORIGINAL", "PRIMARY", "P")}, "image type P is excluded"),
        ({"image_type": ("ORIGINAL", "PRIMARY", "VELOCITY MAP")}, "VELOCITY MAP is excluded"),
        ({"modality": "DOE^JOHN"}, "modality 'unknown' is not routed"),
        ({"series_description": "cine 4CH"}, "name holds '4CH', which the cine route excludes"),
        ({"protocol_name": "Localizer"}, "name holds 'Loc', which the cine route excludes"),
    ],
)
def test_header_rules(change: dict[str, object], words: str) -> None:
    left_alone(stack(**change), words)


@pytest.mark.parametrize("pattern", [".*", r"SAX \w+", "[A-Z ^]{3,}", r"SAX (\S)+", r"S(.)+N"])
def test_no_reason_quotes_a_description(pattern: str) -> None:
    route = RouteSettings(pipeline="cine", exclude_series_description=pattern)
    reason = only(stack(series_description="SAX DOE^JOHN"), (route,)).reason
    assert "DOE" not in reason
    assert "is one that the cine route excludes" in reason


def test_description_is_not_demanded_and_may_be() -> None:
    wanted = RouteSettings(pipeline="cine", series_description="(?i)sax")
    assert only(stack(), (wanted,)).reason.endswith("do not match the cine route")
    assert only(stack(series_description="cine SAX"), (wanted,)).pipeline == "cine"
    assert only(stack(protocol_name="cine_sax"), (wanted,)).pipeline == "cine"


def test_first_matching_route_wins_and_every_refusal_is_told() -> None:
    narrow = RouteSettings(pipeline="narrow", series_description="sax")
    other = RouteSettings(pipeline="other", modality=("CT",))
    wide = RouteSettings(pipeline="wide")
    assert only(stack(), (narrow, wide)).pipeline == "wide"
    assert only(stack(series_description="sax"), (narrow, wide)).pipeline == "narrow"
    assert only(stack(), (narrow, other)).reason == (
        "left alone: series description and protocol name do not match the narrow route; "
        "modality 'MR' is not routed"
    )
    assert only(stack(), ()).reason == "left alone: no route is configured"


def test_source_ae_titles() -> None:
    route = RouteSettings(pipeline="cine", source_ae_titles=("SCANNER",))
    headers = stack()

    def sent_by(title: str) -> Proposal:
        callers = {header.sop_instance_uid: title for header in headers}
        (proposal,) = propose(headers, (route,), callers)
        return proposal

    assert sent_by("SCANNER").pipeline == "cine"
    assert "sender" in sent_by("OTHER").reason
    assert only(headers, (route,)).pipeline == "cine"


def test_phase_images_beside_magnitude_images_are_left_alone() -> None:
    headers = [
        *stack(),
        *(
            replace(header, sop_instance_uid=f"{header.sop_instance_uid}.9", image_type=("P",))
            for header in stack()
        ),
    ]
    left, taken = propose(headers, ROUTES)
    assert (left.pipeline, len(left.headers)) == (None, 40)
    assert (taken.pipeline, len(taken.headers)) == ("cine", 40)


def test_a_result_in_the_series_does_not_block_the_stack() -> None:
    result = instance_header("9.9", written_by_node=True)
    assert [p.pipeline for p in propose([*stack(), result], ROUTES)] == [None, "cine"]


def test_geometry_that_is_no_stack() -> None:
    left_alone(list(stack_headers(1, 20).values()), "1 slice position only")
    left_alone(list(stack_headers(2, 20).values()), "2 slice positions only")
    left_alone(list(stack_headers(12, 1).values()), "1 cardiac phase only")
    without = [with_frame(header, position_mm=None) for header in stack()]
    left_alone(without, "no image with position")


def test_localizer_of_orthogonal_planes() -> None:
    planes = [(*ROW, *COLUMN), (*COLUMN, *NORMAL), (*NORMAL, *ROW)]
    headers = [
        instance_header(
            f"1.{number}.{z}.{t}",
            frame_header(8.0 * z, 40.0 * t, orientation=tuple(map(float, plane))),
        )
        for number, plane in enumerate(planes)
        for z in range(3)
        for t in range(2)
    ]
    left_alone(headers, "planes of several orientations")


def test_a_series_that_is_not_gated() -> None:
    headers = [
        with_frame(header, trigger_time_ms=None, temporal_position=t + 1)
        for (t, _), header in stack_headers(5, 8).items()
    ]
    left_alone(headers, "not gated to the heart")
    declared = [replace(header, cardiac_images=8) for header in headers]
    assert only(declared).pipeline == "cine"
    constant = [with_frame(header, trigger_time_ms=0.0) for header in declared]
    assert only(constant).pipeline == "cine"
    dynamic = [with_frame(header, trigger_time_ms=0.0) for header in headers]
    left_alone(dynamic, "not gated to the heart")


def test_an_image_without_trigger_time_is_named_by_the_grid() -> None:
    headers = stack_headers(5, 8)
    headers[1, 1] = with_frame(headers[1, 1], trigger_time_ms=None)
    proposal = only(list(headers.values()))
    assert proposal.pipeline == "cine"
    with pytest.raises(Rejection) as caught:
        build_grid(proposal.headers)
    assert caught.value.sop_instance_uid == headers[1, 1].sop_instance_uid


def test_times_over_many_beats_are_a_dynamic_series() -> None:
    left_alone(list(stack_headers(5, 8, interval_ms=[2000.0] * 5).values()), "14 s")


@pytest.mark.parametrize("time_ms", [4000.0, 1000.0, 1e300])
@pytest.mark.parametrize("one_series", [True, False])
def test_a_stray_time_is_named_by_the_grid(time_ms: float, one_series: bool) -> None:
    headers = stack() if one_series else series_per_slice()
    headers[17] = with_frame(headers[17], trigger_time_ms=time_ms)
    proposal = only(headers)
    assert (proposal.pipeline, len(proposal.headers)) == ("cine", 40)
    with pytest.raises(Rejection, match="ms lies outside the beat of its slice") as caught:
        build_grid(proposal.headers)
    assert caught.value.sop_instance_uid == headers[17].sop_instance_uid
    assert len(str(caught.value)) < 200


def test_what_the_grid_refuses_is_routed_so_that_the_refusal_is_told() -> None:
    headers = stack_headers(5, 8)
    tilt = np.radians(10)
    tilted = (*map(float, np.cos(tilt) * ROW + np.sin(tilt) * NORMAL), *map(float, COLUMN))
    headers[1, 1] = with_frame(headers[1, 1], orientation=tilted)
    two_patients = [
        replace(h, patient_id="P2") if z else h for (_, z), h in stack_headers().items()
    ]
    for case, code in (
        (list(headers.values()), "mixed_orientation"),
        (two_patients, "mixed_patient"),
    ):
        proposal = only(case)
        assert proposal.pipeline == "cine"
        with pytest.raises(Rejection) as caught:
            build_grid(proposal.headers)
        assert caught.value.code == code


@pytest.mark.parametrize("routes", [ROUTES, (RouteSettings(pipeline="cine"),)])
def test_real_series(real_data: Path, routes: tuple[RouteSettings, ...]) -> None:
    def proposals(folder: str) -> tuple[Proposal, ...]:
        paths = (real_data / folder).rglob("*.dcm")
        return propose([read_header(path) for path in paths], routes)

    assert sorted(
        (p.pipeline, len(p.headers), p.reason) for p in proposals("sunnybrook/dicom")
    ) == [
        ("cine", 240, "12 slice positions with up to 20 phases"),
        ("cine", 260, "13 slice positions with up to 20 phases"),
    ]
    for folder in ("other/long_axis_cine", "other/enhanced_mr", "spect"):
        assert {p.pipeline for p in proposals(folder)} == {None}
