"""Late enhancement and cine never take each other's series."""

from dataclasses import replace

import pytest

from config.schema import CINE_ROUTE, LGE_ROUTE
from pipeline.headers import InstanceHeader
from pipeline.routing import Proposal, propose
from tests.unit.pipeline.dicom_cases import frame_header, instance_header, stack_headers

ROUTES = (CINE_ROUTE, LGE_ROUTE)


def lge(
    slices: int = 8,
    *,
    series: str = "1.6",
    ti: float | None = 300.0,
    trigger_ms: float = 600.0,
    repeats: int = 1,
    first_mm: float = 0.0,
    **changed: object,
) -> list[InstanceHeader]:
    values = {"series_description": "LGE_SA", "series_instance_uid": series} | changed
    return [
        instance_header(
            f"{series}.{z}.{n}",
            frame_header(first_mm + 8.0 * z, trigger_ms + 4.0 * n, inversion_time_ms=ti),
            **values,
        )
        for z in range(slices)
        for n in range(repeats)
    ]


def routed(headers: list[InstanceHeader], routes=ROUTES) -> dict[tuple[str, ...], str | None]:
    return {one.series_instance_uids: one.pipeline for one in propose(headers, routes)}


def only(headers: list[InstanceHeader], routes=ROUTES) -> Proposal:
    (proposal,) = propose(headers, routes)
    return proposal


@pytest.mark.parametrize(
    "description",
    [
        "LGE_SA",
        "DE-CMR short axis",
        "de_sax",
        "Late Gad SAX",
        "PSIR SA",
        "t_delayed enh",
        "PSMDE",
        "sa MDE",
    ],
)
def test_descriptions_of_late_enhancement(description):
    proposal = only(lge(series_description=description))
    assert proposal.pipeline == "lge"
    assert proposal.reason == "8 slice positions of late enhancement"


@pytest.mark.parametrize(
    "description",
    ["LGE_4ch", "LGE 2ch", "psir lax", "LGE T1 map", "TI scout", "early LGE", "Perfusion", "DESS"],
)
def test_descriptions_of_what_is_not_measured(description):
    assert only(lge(series_description=description)).pipeline is None


def test_without_description_the_inversion_time_decides():
    assert only(lge(series_description="")).pipeline == "lge"
    unstated = only(lge(series_description="", ti=None))
    assert unstated.pipeline is None
    assert "1 cardiac phase only (no cine)" in unstated.reason


@pytest.mark.parametrize("description", ["", "LGE_SA"])
def test_averages_with_differing_trigger_times_are_no_cine(description):
    headers = lge(series_description=description, repeats=3)
    assert only(headers).pipeline == "lge"
    assert only(headers, (CINE_ROUTE,)).pipeline is None


def test_a_cine_is_none_whatever_it_is_called():
    cine = list(stack_headers(5, 8).values())
    assert only(cine).pipeline == "cine"
    inverted = [
        replace(one, frames=(replace(one.frames[0], inversion_time_ms=90.0),)) for one in cine
    ]
    assert only(inverted).pipeline == "cine"
    named = only([replace(one, series_description="LGE_SA") for one in cine])
    assert named.pipeline is None
    assert "several cardiac phases" in named.reason


def test_cine_and_late_enhancement_of_one_study():
    cine = list(stack_headers(5, 8).values())
    assert sorted(filter(None, routed([*cine, *lge()]).values())) == ["cine", "lge"]


def test_magnitude_and_phase_sensitive_series_are_one_stack():
    magnitude = lge(series="1.6", series_description="LGE_MAG")
    sensitive = lge(
        series="1.7", series_description="LGE_PSIR", image_type=("DERIVED", "PRIMARY", "P")
    )
    assert routed([*magnitude, *sensitive]) == {("1.6", "1.7"): "lge"}


def test_a_phase_map_is_left_alone_beside_its_magnitude():
    maps = lge(series="1.7", image_type=("ORIGINAL", "PRIMARY", "P"))
    assert routed([*lge(), *maps]) == {("1.6",): "lge", ("1.7",): None}


def test_a_repeated_slice_joins_its_stack_and_a_stack_elsewhere_does_not():
    again = lge(1, series="1.7", first_mm=16.0)
    elsewhere = lge(series="1.8", first_mm=4.0)
    found = routed([*lge(), *again, *elsewhere])
    assert found == {("1.6", "1.7"): "lge", ("1.8",): "lge"}


def test_a_stack_taken_again_at_another_heart_rate_is_the_same_stack():
    again = lge(series="1.7", trigger_ms=800.0, acquired_at="20200101110000")
    assert routed([*lge(), *again]) == {("1.6", "1.7"): "lge"}


def test_one_series_per_slice_is_one_stack():
    headers = [one for z in range(6) for one in lge(1, series=f"1.6.{z}", first_mm=8.0 * z)]
    assert routed(headers) == {tuple(f"1.6.{z}" for z in range(6)): "lge"}


def test_3d_and_2d_stacks_stay_apart():
    three = lge(series="1.7", acquisition_type="3D")
    assert routed([*lge(acquisition_type="2D"), *three]) == {("1.6",): "lge", ("1.7",): "lge"}


def test_a_single_slice_is_no_stack():
    proposal = only(lge(1))
    assert proposal.pipeline is None
    assert "single-slice image" in proposal.reason
