"""Which instances form the case of an ECG or of a perfusion study."""

from dataclasses import replace

import pytest

from config.schema import (
    CINE_ROUTE,
    ECG_PICTURE_ROUTE,
    ECG_ROUTE,
    SPECT_PICTURE_ROUTE,
    SPECT_ROUTE,
    PipelinesSettings,
    Settings,
)
from pipeline.headers import InstanceHeader
from pipeline.pictures import (
    ECG_WAVEFORMS,
    ENCAPSULATED_PDF,
    NM_IMAGE,
    SECONDARY_CAPTURES,
    is_whole,
)
from pipeline.routing import propose
from tests.unit.pipeline.dicom_cases import instance_header, stack_headers

ROUTES = (CINE_ROUTE, ECG_ROUTE, ECG_PICTURE_ROUTE, SPECT_ROUTE, SPECT_PICTURE_ROUTE)


def ecg(number: int = 1, **changed: object) -> InstanceHeader:
    values = {"modality": "ECG", "sop_class_uid": ECG_WAVEFORMS[0], "series_instance_uid": "1.4"}
    return instance_header(f"1.4.{number}", **(values | changed))


def capture(description: str, number: int = 1, **changed: object) -> InstanceHeader:
    values = {
        "modality": "OT",
        "sop_class_uid": SECONDARY_CAPTURES[0],
        "series_instance_uid": "1.6",
        "series_description": description,
        "image_type": ("DERIVED", "SECONDARY"),
    }
    return instance_header(f"1.6.{number}", **(values | changed))


def document(**changed: object) -> InstanceHeader:
    values = {"modality": "DOC", "sop_class_uid": ENCAPSULATED_PDF, "series_instance_uid": "1.7"}
    return instance_header("1.7.1", **(values | changed))


def tomogram(view: str, number: int = 1, **changed: object) -> InstanceHeader:
    values = {
        "modality": "NM",
        "sop_class_uid": NM_IMAGE,
        "series_instance_uid": f"1.8.{view}",
        "image_type": ("ORIGINAL", "PRIMARY", "RECON TOMO", "EMISSION"),
        "view": view,
    }
    return instance_header(f"1.8.{view}.{number}", **(values | changed))


def pipelines(*headers: InstanceHeader) -> list[str | None]:
    return [one.pipeline for one in propose(headers, ROUTES)]


def reason(header: InstanceHeader) -> str:
    (proposal,) = propose([header], ROUTES)
    assert proposal.pipeline is None
    return proposal.reason


@pytest.mark.parametrize("kind", ECG_WAVEFORMS)
def test_each_ecg_is_a_case_by_itself(kind):
    found = propose([ecg(1, sop_class_uid=kind), ecg(2, sop_class_uid=kind)], ROUTES)
    assert [(one.pipeline, len(one.headers)) for one in found] == [("ecg", 1), ("ecg", 1)]
    assert [one.headers[0].sop_instance_uid for one in found] == ["1.4.1", "1.4.2"]


@pytest.mark.parametrize("description", ["12-lead ECG", "EKG Blatt", "Electrocardiogram", "ecg_1"])
def test_a_capture_called_an_ecg_is_one(description):
    assert pipelines(capture(description)) == ["ecg"]


@pytest.mark.parametrize("description", ["", "Chest PA", "Report", "secgment"])
def test_any_other_capture_is_left_alone(description):
    assert "do not match" in reason(capture(description))


@pytest.mark.parametrize(
    "told",
    [
        {"modality": "ECG"},
        {"series_description": "Resting ECG"},
        {"document_title": "12-lead EKG"},
        {"document_code": "LN:11524-6"},
        {"document_code": "LN:34534-8", "document_title": "Report"},
        {"document_code": "99LOCAL:1", "document_title": "ECG"},
    ],
)
def test_a_document_that_says_it_is_an_ecg_is_one(told):
    (found,) = propose([document(**told)], ROUTES)
    assert (found.pipeline, found.reason) == ("ecg", "an encapsulated PDF called an ECG")


@pytest.mark.parametrize(
    ("told", "words"),
    [
        ({}, "description, title and code of the document do not match the ecg route"),
        ({"document_title": "Discharge letter"}, "do not match the ecg route"),
        ({"document_code": "LN:18748-4", "document_title": "ECG"}, "something else than an ECG"),
        ({"document_code": "LN:18752-6", "modality": "ECG"}, "something else than an ECG"),
        ({"document_title": "Stress ECG"}, "'Stress', which the ecg route excludes"),
        ({"modality": "ECG", "series_description": "Holter 24 h"}, "'Holter', which"),
        ({"modality": "SR", "document_title": "ECG"}, "modality 'SR' is not routed"),
        ({"document_title": "ECG", "written_by_node": True}, "a result this node wrote"),
    ],
)
def test_any_other_document_is_left_alone(told, words):
    assert words in reason(document(**told))


@pytest.mark.parametrize("one", [ecg, lambda **told: capture("", **told)])
def test_an_ecg_that_is_not_of_rest_is_left_alone(one):
    assert "which the ecg route excludes" in reason(one(series_description="Exercise ECG"))


def test_a_document_is_none_of_spect():
    (found,) = propose([document(document_title="SPECT")], [SPECT_ROUTE, SPECT_PICTURE_ROUTE])
    assert "no image of a kind" in found.reason


def test_a_capture_called_spect_is_one_and_says_so():
    (found,) = propose([capture("MPI SPECT display")], ROUTES)
    assert (found.pipeline, found.reason) == ("spect", "a secondary capture called SPECT")


def test_a_capture_of_nuclear_medicine_has_to_be_called_spect_too():
    assert "asks for its description" in reason(capture("Bone whole body", modality="NM"))
    assert pipelines(capture("Perfusion SPECT", modality="NM")) == ["spect"]


def test_stress_and_rest_of_a_patient_are_one_case():
    (found,) = propose([tomogram("stress"), tomogram("rest")], ROUTES)
    assert (found.pipeline, found.reason) == ("spect", "perfusion tomograms: stress and rest")
    assert found.series_instance_uids == ("1.8.rest", "1.8.stress")
    assert is_whole(found.headers)


@pytest.mark.parametrize("other", [{"study_instance_uid": "1.99"}, {"patient_id": "P2"}])
def test_views_of_two_studies_or_patients_are_two_cases(other):
    found = propose([tomogram("stress"), tomogram("rest", **other)], ROUTES)
    assert sorted(one.reason for one in found) == [
        "perfusion tomograms: rest only",
        "perfusion tomograms: stress only",
    ]
    assert not any(is_whole(one.headers) for one in found)


def test_an_ecg_needs_nothing_more():
    assert is_whole([ecg()])


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"image_type": ("ORIGINAL", "PRIMARY", "TOMO", "EMISSION")}, "RECON TOMO"),
        ({"view": ""}, "stress or rest"),
        ({"modality": "PT"}, "modality 'PT' is not routed"),
    ],
)
def test_other_nuclear_images_are_left_alone(changed, words):
    assert words in reason(replace(tomogram("rest"), **changed))


def test_a_waveform_or_tomogram_is_no_stack_and_a_stack_no_picture():
    found = propose([*stack_headers(5, 8).values(), ecg(), tomogram("rest")], ROUTES)
    assert {one.pipeline for one in found} == {"cine", "ecg", "spect"}
    assert "no image of a kind" in propose([ecg()], [CINE_ROUTE])[0].reason


def test_what_the_node_wrote_is_no_ecg():
    assert "a result this node wrote" in reason(capture("ECG", written_by_node=True))


def test_the_default_routes_are_those_of_enabled_pipelines():
    assert {route.pipeline for route in Settings().active_routes} == {"cine", "lge"}
    enabled = PipelinesSettings.model_validate({"ecg": {"enabled": True}})
    allowed = Settings(allow_research_models=True, pipelines=enabled)
    assert allowed.active_routes[2:] == (ECG_ROUTE, ECG_PICTURE_ROUTE)
