"""The one split: nobody on two sides, and nobody fitted who must not be."""

import json
from itertools import combinations
from pathlib import Path

import pytest

from models.split import PARTS, SplitError, never_fitted, patients, refuse_unfit, sets
from models.training.cards import data_of_set
from models.training.data import ADAPTERS, fitting_slices
from models.training.emidec import SAME_EXAM
from models.training.synthetic import SEEDS


def test_no_patient_is_on_two_sides():
    for dataset in sets():
        for one, other in combinations(PARTS, 2):
            assert not set(patients(dataset, one)) & set(patients(dataset, other))
    for one, other in combinations(PARTS, 2):
        assert not set(SEEDS[one]) & set(SEEDS[other])


def test_an_exam_that_is_there_twice_is_on_one_side():
    for pair in SAME_EXAM.items():
        assert any(set(pair) <= set(patients("emidec", part)) for part in PARTS)


def test_a_card_names_the_split_of_each_set_unless_all_were_fitted():
    for dataset in sets():
        assert "models/split.json" in data_of_set(dataset)
        assert "models/split.json" not in data_of_set(dataset, refit=True)


def test_never_fitted_patients_are_in_no_part():
    assert never_fitted() == {"SC-HF-I-01", "SC-HF-I-02", "SCD0000101", "SCD0000201"}
    for dataset in sets():
        for part in PARTS:
            assert not never_fitted() & set(patients(dataset, part))


def test_sizes_and_groups():
    assert [len(patients("acdc", part)) for part in PARTS] == [70, 10, 20]
    assert [len(patients("sunnybrook", part)) for part in PARTS] == [20, 3, 8]
    assert [len(patients("emidec", part)) for part in PARTS] == [56, 8, 16]
    for part, normal in zip(PARTS, (18, 3, 5), strict=True):
        assert sum(name.startswith("Case_N") for name in patients("emidec", part)) == normal
    every = sorted(name for part in PARTS for name in patients("acdc", part))
    assert every == [f"patient{number:03d}" for number in range(1, 101)]


def test_test_patients_are_balanced_over_the_groups():
    groups = [name.rsplit("-", 1)[0] for name in patients("sunnybrook", "test")]
    assert sorted(groups) == sorted(["SC-HF-I", "SC-HF-NI", "SC-HYP", "SC-N"] * 2)


def test_real_test_patients_are_four_of_each_group(real_data):
    groups = []
    for name in patients("acdc", "test"):
        text = (real_data / "acdc" / "frames" / name / "Info.cfg").read_text()
        groups += [line.split(":")[1].strip() for line in text.splitlines() if "Group" in line]
    assert sorted(groups) == sorted(["DCM", "HCM", "MINF", "NOR", "RV"] * 4)


@pytest.mark.parametrize("name", ["SC-HF-I-01", "SCD0000201"])
def test_a_never_fitted_patient_is_refused(name):
    with pytest.raises(SplitError, match=name):
        refuse_unfit("sunnybrook", [name])


def test_a_test_patient_is_refused():
    with pytest.raises(SplitError):
        refuse_unfit("acdc", patients("acdc", "test")[:1])


@pytest.mark.parametrize("dataset", sorted(ADAPTERS))
def test_no_loader_gives_test_slices_for_fitting(dataset, tmp_path):
    with pytest.raises(SplitError):
        next(fitting_slices(tmp_path, dataset, "test"))


def test_an_unknown_set_is_named():
    with pytest.raises(SplitError, match="'atlas'"):
        patients("atlas", "train")


def test_the_split_lists_each_patient_once():
    document = json.loads((Path("models") / "split.json").read_text())
    for parts in document["sets"].values():
        names = [name for part in parts.values() for name in part]
        assert len(names) == len(set(names))
