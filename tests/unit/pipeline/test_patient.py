import math

import pytest
from pydicom import Dataset
from pydicom.sequence import Sequence

from pipeline.patient import body_surface_area, demographics, heart_rate
from pipeline.results.source import tolerant_headers
from tests.unit.pipeline.cine_cases import header


def headers(*each: Dataset) -> dict[str, Dataset]:
    return {f"1.2.{n}": one for n, one in enumerate(each)}


def raw(keyword: str, value: bytes) -> Dataset:
    """A header as a parser leaves it: the value is not looked at before it is asked for."""
    from pydicom.datadict import tag_for_keyword
    from pydicom.dataelem import RawDataElement
    from pydicom.tag import Tag

    dataset = Dataset()
    tag = Tag(tag_for_keyword(keyword))
    dataset[tag] = RawDataElement(tag, "DS", len(value), value, 0, False, True)
    return dataset


def test_body_surface_area_after_mosteller():
    area = body_surface_area(headers(header(PatientSize="1.8", PatientWeight="80")))
    assert area.value == pytest.approx(2.0)
    assert (area.unit, area.withheld) == ("m2", None)


@pytest.mark.parametrize(
    ("size", "weight", "reason"),
    [
        ("180", "80", "the height of 180 m in the images is not within 0.3 to 2.5 m"),
        ("0.29", "80", "height of 0.29 m"),
        ("2.51", "80", "height of 2.51 m"),
        ("1.8", "0.9", "the weight of 0.9 kg in the images is not within 1 to 350 kg"),
        ("1.8", "80000", "weight of 80000 kg"),
        ("0", "0", "weight of 0 kg in the images is not"),
        (None, "80", "the images state no height"),
        ("1.8", None, "the images state no weight"),
        ("", "", "the images state no height; the images state no weight"),
    ],
)
def test_an_implausible_body_has_no_surface_and_is_never_rescaled(size, weight, reason):
    given = {"PatientSize": size, "PatientWeight": weight}
    area = body_surface_area(
        headers(header(**{key: value for key, value in given.items() if value is not None}))
    )
    assert area.value is None
    assert reason in area.withheld


@pytest.mark.parametrize(("size", "weight"), [("0.3", "1"), ("2.5", "350")])
def test_the_limits_themselves_are_allowed(size, weight):
    area = body_surface_area(headers(header(PatientSize=size, PatientWeight=weight)))
    assert area.value == pytest.approx(math.sqrt(float(size) * float(weight) / 36))


def test_sizes_that_contradict_each_other_withhold_it():
    one, other = (header(PatientSize=size, PatientWeight="80") for size in ("1.8", "1.7"))
    assert "more than one height" in body_surface_area(headers(one, other)).withheld
    assert body_surface_area(headers(one, header(), one)).value == pytest.approx(2.0)


@pytest.mark.parametrize("value", [b"1,80", b"tall", b"1.8\\1.9", b"nan", b"inf", b"  "])
def test_a_size_that_is_no_number_counts_as_absent(value):
    broken = raw("PatientSize", value)
    broken.PatientWeight = "80"
    assert body_surface_area(headers(broken)).withheld == "the images state no height"


@pytest.mark.parametrize(
    ("rates", "intervals", "expected"),
    [
        (["60", "62", "90"], [], 62),
        ([], ["1000", "750", "800"], 75),
        (["0", "0"], ["800", "800"], 75),
        (["19"], ["1000"], 60),
        (["221"], ["1000"], 60),
        (["20"], ["3000"], 20),
        (["60"], ["835"], 60),
        (["220"], [], 220),
    ],
)
def test_heart_rate_from_the_rate_else_from_the_interval(rates, intervals, expected):
    each = [header(HeartRate=rate) for rate in rates]
    each += [header(NominalInterval=interval) for interval in intervals]
    rate = heart_rate(headers(*each))
    assert rate.value == pytest.approx(expected)
    assert rate.unit == "/min"


@pytest.mark.parametrize(
    ("attributes", "reason"),
    [
        ({}, "no heart rate"),
        ({"TriggerTime": "950"}, "no heart rate"),
        ({"HeartRate": "0"}, "not within 20 to 220"),
        ({"NominalInterval": "0"}, "not within 20 to 220"),
        ({"HeartRate": "300", "NominalInterval": "100"}, "not within 20 to 220"),
        ({"NominalInterval": "4000"}, "not within 20 to 220"),
        ({"HeartRate": "45", "NominalInterval": "652"}, "contradict each other"),
        ({"HeartRate": "60", "NominalInterval": "1210"}, "contradict each other"),
    ],
)
def test_heart_rate_is_withheld_rather_than_guessed(attributes, reason):
    rate = heart_rate(headers(header(**attributes)))
    assert rate.value is None
    assert reason in rate.withheld


def test_heart_rate_of_enhanced_mr():
    def group(**attributes):
        return header(CardiacSynchronizationSequence=Sequence([header(**attributes)]))

    frames = [group(HeartRate=58.0), group(HeartRate=60.0), group(HeartRate=61.0)]
    enhanced = header(
        SharedFunctionalGroupsSequence=Sequence([group(RRIntervalTimeNominal=1100.0)]),
        PerFrameFunctionalGroupsSequence=Sequence(frames),
    )
    assert heart_rate(headers(enhanced)).value == 60
    del enhanced.PerFrameFunctionalGroupsSequence
    assert heart_rate(headers(enhanced)).value == pytest.approx(54.545, abs=1e-3)


@pytest.mark.parametrize(
    ("facts", "age"),
    [
        ({"PatientBirthDate": "19700704", "StudyDate": "20300703"}, 59),
        ({"PatientBirthDate": "19700704", "StudyDate": "20300704"}, 60),
        ({"PatientAge": "061Y"}, 61),
        ({"PatientAge": "030M"}, 2),
        ({"PatientAge": "010D"}, 0),
        ({"PatientBirthDate": "00000000", "StudyDate": "20300704", "PatientAge": "061Y"}, 61),
        ({"PatientBirthDate": "19700704", "StudyDate": "20300703", "PatientAge": "060Y"}, 59),
    ],
)
def test_the_age_is_that_at_the_study(facts, age):
    with tolerant_headers():
        stated = headers(header(**facts))
    assert demographics(stated).age.value == age


@pytest.mark.parametrize(
    ("facts", "reason"),
    [
        ({}, "neither"),
        ({"PatientAge": "61"}, "neither"),
        ({"PatientBirthDate": "19700704"}, "neither"),
        (
            {"PatientBirthDate": "19700704", "StudyDate": "20300703", "PatientAge": "061Y"},
            "contradict",
        ),
        ({"PatientAge": "121Y"}, "121 years are not within"),
        ({"PatientBirthDate": "20310101", "StudyDate": "20300101"}, "-1 years are not within"),
    ],
)
def test_an_unknown_contradicted_or_impossible_age_is_none(facts, reason):
    with tolerant_headers():
        stated = headers(header(**facts))
    age = demographics(stated).age
    assert age.value is None
    assert reason in age.withheld


def test_sexes_that_differ_between_images_are_unknown():
    found = demographics(headers(header(PatientSex="M"), header(PatientSex="F")))
    assert (found.sex, found.sex_unknown) == (None, "the images state two")
    assert demographics(headers(header(PatientSex="M"), header(PatientSex="M "))).sex == "M"
