"""Normal ranges: whose they are, which numbers they judge, and that none is invented."""

from dataclasses import replace

import pytest

from pipeline.case import Biomarker
from pipeline.patient import demographics
from pipeline.results.codes import QUANTITIES
from pipeline.results.normal_ranges import Flag, assess, normal_ranges
from pipeline.stages.biomarkers import FUNCTION
from tests.unit.pipeline.cine_cases import header


def person(sex="F", age="060Y", **facts):
    return demographics({"1.2": header(PatientSex=sex, PatientAge=age, **facts)})


def test_every_range_is_of_a_known_biomarker_in_its_unit_and_sourced():
    for one in normal_ranges():
        assert one.biomarker in QUANTITIES
        assert one.biomarker in FUNCTION
        assert one.lower < one.upper
        assert one.sex in ("M", "F")
        assert (one.youngest, one.oldest) == (45, 74)
        assert one.papillary_muscles == "in cavity"
        assert one.source == "Petersen 2017, JCMR 19:18"
    keys = [(one.biomarker, one.sex) for one in normal_ranges()]
    assert len(keys) == len(set(keys)) == 26


def test_the_product_holds_the_table_it_was_given(real_data):
    given = (real_data.parent / "normal_ranges.csv").read_text(encoding="utf-8").splitlines()
    from pipeline.results.normal_ranges import RANGES_FILE

    held = RANGES_FILE.read_text(encoding="utf-8").splitlines()
    assert held == [given[0], *(line for line in given if ",in cavity," in line)]


@pytest.mark.parametrize(
    ("value", "flag"),
    [(47.94, Flag.LOW), (47.96, Flag.NORMAL), (48, Flag.NORMAL), (68, Flag.NORMAL),
     (68.04, Flag.NORMAL), (68.06, Flag.HIGH)],
)  # fmt: skip
def test_the_limits_are_normal_and_what_is_judged_is_what_is_shown(value, flag):
    assert assess(Biomarker("lv_ef", value, "%"), person("M")).flag is flag


def test_a_range_of_another_papillary_convention_does_not_judge():
    other = [replace(one, papillary_muscles="in myocardium") for one in normal_ranges()]
    found = assess(Biomarker("lv_edv", 150.0, "ml"), person(), other)
    assert (found.range, found.flag) == (None, None)
    assert "papillary muscles in cavity" in found.unjudged


def test_a_range_in_another_unit_does_not_judge():
    other = [replace(one, unit="l") for one in normal_ranges()]
    assert assess(Biomarker("lv_edv", 150.0, "ml"), person(), other).range is None


def test_a_range_of_the_other_sex_does_not_judge():
    of_men = [one for one in normal_ranges() if one.sex == "M"]
    found = assess(Biomarker("lv_edv", 150.0, "ml"), person(), of_men)
    assert (found.range, found.unjudged) == (
        None,
        "no normal range of women is known to the product",
    )


def test_a_withheld_number_has_a_range_and_no_flag():
    found = assess(Biomarker("lv_edv", None, "ml", "no LV"), person())
    assert (found.range.upper, found.flag, found.unjudged) == (175, None, "no LV")


@pytest.mark.parametrize(
    ("years", "shown", "judged"),
    [("017Y", False, False), ("018Y", True, False), ("044Y", True, False), ("045Y", True, True),
     ("074Y", True, True), ("075Y", True, False), ("900M", True, False), ("200W", False, False)],
)  # fmt: skip
def test_ages_outside_the_range_are_not_judged_and_children_see_none(years, shown, judged):
    found = assess(Biomarker("lv_edv", 150.0, "ml"), person(age=years))
    assert (found.range is not None, found.flag is not None) == (shown, judged)
    assert (found.unjudged is None) == judged


@pytest.mark.parametrize(
    ("value", "side"), [(79.0, Flag.LOW), (80.0, None), (175.0, None), (176.0, Flag.HIGH)]
)
def test_a_number_beyond_the_range_of_other_ages_is_told_apart_but_not_judged(value, side):
    found = assess(Biomarker("lv_edv", value, "ml"), person(age="030Y"))
    assert (found.flag, found.outside) == (None, side)
    assert ("the number lies" in found.why_unjudged) == (side is not None)


@pytest.mark.parametrize(
    ("value", "side"), [(79.0, Flag.LOW), (85.0, None), (200.0, None), (233.0, Flag.HIGH)]
)
def test_without_a_sex_only_what_both_ranges_leave_out_is_told_apart(value, side):
    found = assess(Biomarker("lv_edv", value, "ml"), person("O"))
    assert (found.range, found.flag, found.outside) == (None, None, side)
    child = assess(Biomarker("lv_edv", value, "ml"), person("O", age="009Y"))
    assert child.outside is None


def test_lv_mass_has_no_range_in_the_convention_of_the_product():
    found = assess(Biomarker("lv_mass", 100.0, "g"), person())
    assert (found.range, found.flag) == (None, None)
    assert found.unjudged == "no normal range is known to the product"
