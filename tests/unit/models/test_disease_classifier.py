"""The classifiers of disease groups: what they learn from, what ships of them, what they say."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from models.disease_classifier import DiseaseClassifier, heart_input, in_three_channels, reach
from models.disease_groups import CLASSES
from models.heart_view import HeartView
from models.logistic_regression import LogisticRegression
from models.picture_classifier import LEAST_FAMILIARITY
from models.registry import WeightsError, card
from models.training.cards import fitted_sets, write_card
from models.training.case_file import write_cases
from models.training.cases import CaseError
from models.training.disease_task import FEATURES, SLICES, BiomarkerTask
from models.training.export import export
from models.training.folds import folds_of, train_without
from models.training.hearts import HeartCase, case_of_view, path_of, slices_of
from models.training.metrics import wilson_interval
from models.training.slices import LabelledSlice, allowed_bits, read_slices, write_slices
from models.training.tasks import NoDataError
from models.training.train import train

SPACING = (1.5, 1.2)


def heart(label: int, seed: int, strange: float = 0.0) -> HeartCase:
    """A heart whose group is told by one number, and by the shade of its middle."""
    rng = np.random.default_rng(100 * label + seed)
    numbers = dict(zip(FEATURES, rng.normal(size=len(FEATURES)).tolist(), strict=True))
    numbers[FEATURES[label]] += 6.0 + strange
    images = rng.integers(0, 60, (2, 4, 60, 70), dtype=np.uint8)
    images[:, :, 20:40, 25:45] += np.uint8(30 * label)
    return HeartCase("acdc", f"p{label}{seed}", label, numbers, images, SPACING, (30.0, 35.0))


def hearts(seeds):
    return [heart(label, seed) for label in range(len(CLASSES)) for seed in seeds]


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    output = tmp_path_factory.mktemp("run")
    write_cases(path_of(output / "prepared", "acdc", "train"), hearts(range(12)))
    write_cases(path_of(output / "prepared", "acdc", "validation"), hearts(range(20, 23)))
    folder = train("cine_disease_biomarkers", output, output)
    export("cine_disease_biomarkers", output, output, version="1", folder=folder)
    return DiseaseClassifier("cine_disease_biomarkers", folder=folder), output


def test_numbers_are_learnt_and_what_ships_is_arrays(trained):
    classifier, output = trained
    new = hearts(range(30, 36))
    readings = [classifier.read(one.view) for one in new]
    right = [
        int(np.argmax(one.probabilities)) == case.label
        for one, case in zip(readings, new, strict=True)
    ]
    assert np.mean(right) > 0.9
    with np.load(output / "cine_disease_biomarkers" / "cine_disease_biomarkers.npz") as stored:
        shapes = {name: stored[name].shape for name in stored.files}
    n = len(FEATURES)
    assert shapes == {
        "mean": (n,), "spread": (n,), "head.weight": (5, n), "head.bias": (5,),
    }  # fmt: skip
    told = json.loads((output / "cine_disease_biomarkers" / "log.jsonl").read_text("utf-8"))
    assert told["accuracy"] == 1.0
    assert 0.9 < told["cross_validated"] <= 1.0


def test_the_solution_is_that_of_the_library(trained):
    from sklearn.linear_model import LogisticRegression as Solver
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    classifier, _ = trained
    known, new = hearts(range(12)), hearts(range(30, 33))
    rows = [
        [[case.features[name] for name in FEATURES] for case in cases] for cases in (known, new)
    ]
    solver = make_pipeline(StandardScaler(), Solver(max_iter=10_000, tol=1e-6))
    expected = solver.fit(rows[0], [case.label for case in known]).predict_proba(rows[1])
    found = [classifier.read(case.view).probabilities for case in new]
    np.testing.assert_allclose(found, expected, atol=5e-3)  # kernels ship in half precision


def test_a_number_far_from_all_that_was_learnt_is_strange(trained):
    classifier, _ = trained
    assert LEAST_FAMILIARITY in classifier.card.calibration
    assert not classifier.read(heart(2, 40).view).is_strange
    assert classifier.read(heart(2, 40, strange=40.0).view).is_strange


def test_a_feature_that_is_not_measured_is_named(trained):
    classifier, _ = trained
    view = heart(0, 1).view
    less = replace(view, features={name: 1.0 for name in FEATURES if name != "rv_ef"})
    with pytest.raises(WeightsError, match="is not measured: rv_ef"):
        classifier.read(less)


def test_without_measured_hearts_the_command_that_makes_them_is_named(tmp_path):
    for model in ("cine_disease_biomarkers", "cine_disease_images"):
        with pytest.raises(NoDataError, match="dicom-node study out-of-fold"):
            train(model, tmp_path, tmp_path)


def test_numbers_that_tell_nothing_are_not_told_by_those_that_were_learnt(tmp_path):
    rng = np.random.default_rng(3)
    noise = [
        replace(case, features=dict(zip(FEATURES, rng.normal(size=len(FEATURES)), strict=True)))
        for case in hearts(range(8))
    ]
    figures = BiomarkerTask(noise, []).solve(LogisticRegression(len(FEATURES), len(CLASSES)))
    assert figures["cross_validated"] < 0.4


def test_a_group_nobody_has_is_named():
    with pytest.raises(NoDataError, match="hypertrophic_cardiomyopathy"):
        BiomarkerTask([case for case in hearts(range(2)) if case.label != 3], [])


def test_images_train_and_are_read_slice_by_slice(tmp_path):
    write_cases(path_of(tmp_path / "prepared", "acdc", "train"), hearts(range(2)))
    write_cases(path_of(tmp_path / "prepared", "acdc", "validation"), hearts([5]))
    folder = train("cine_disease_images", tmp_path, tmp_path, steps=1, threads=1)
    written = export("cine_disease_images", tmp_path, tmp_path, version="1", folder=folder)
    classifier = DiseaseClassifier("cine_disease_images", folder=folder)
    view = heart(1, 9).view
    each, whole = classifier.slices(view), classifier.read(view)
    assert each.shape == (4, 5)
    np.testing.assert_allclose(whole.probabilities, each.mean(dim=0), atol=1e-6)
    assert whole.familiarity > 0
    write_card(replace(written, calibration={LEAST_FAMILIARITY: 99.0}), folder)
    assert DiseaseClassifier("cine_disease_images", folder=folder).read(view).is_strange


def test_a_slice_is_the_same_in_training_and_in_service():
    case = heart(3, 1)
    geometry = {"rows": 112, "columns": 112, "spacing_mm": 1.4, "supersample": 1}
    served = heart_input(case.view, geometry)
    learnt = torch.stack([SLICES.plain(one) for one in slices_of(case)])
    assert torch.equal(served, learnt)


def test_channels_are_ed_es_and_what_moved():
    pairs = torch.rand(3, 2, 16, 16)
    pairs[1, 1] = pairs[1, 0]
    channels = in_three_channels(pairs)
    assert channels.shape == (3, 3, 16, 16)
    assert torch.equal(channels[:, 2], channels[:, 0] - channels[:, 1])
    assert not channels[1, 2].any()
    assert channels[0, 2].any()


def test_the_reach_is_that_of_the_strangest_heart():
    network = torch.nn.Identity()
    logits = [torch.full((2, 5), value) for value in (0.0, 1.0, 2.0)]
    expected = 0.02 * 1.0 + np.log(5)  # the hundredth between the two least
    assert reach(network, logits)[LEAST_FAMILIARITY] == pytest.approx(expected, abs=1e-3)


def test_a_group_that_is_not_known_is_refused():
    view = HeartView({}, np.zeros((2, 1, 4, 4), np.uint8), SPACING, (2.0, 2.0))
    assert case_of_view(view, "acdc", "p", "RV").label == CLASSES.index("abnormal_right_ventricle")
    with pytest.raises(CaseError, match="its group 'OTHER'"):
        case_of_view(view, "acdc", "p", "OTHER")


def test_each_patient_is_left_out_once_and_each_group_evenly():
    groups = {f"p{number:02d}": "ABC"[number % 3] for number in range(30)}
    folds = folds_of(groups, 3)
    assert sorted(name for fold in folds for name in fold) == sorted(groups)
    for fold in folds:
        counts = [sum(groups[name] == group for name in fold) for group in "ABC"]
        assert max(counts) - min(counts) <= 1


def labelled(patient: str, dataset: str = "acdc") -> LabelledSlice:
    rng = np.random.default_rng(1)
    allowed = np.full((40, 40), allowed_bits(0), np.uint8)
    allowed[15:25, 15:25] = allowed_bits(1)
    image = rng.integers(0, 255, (40, 40), dtype=np.uint8)
    return LabelledSlice(image, allowed, (1.5, 1.5), (20.0, 20.0), dataset, patient, "ed")


def test_who_is_left_out_takes_no_part_in_fitting(tmp_path):
    names = ("patient001", "patient002", "patient003")
    kept = tmp_path / "folds" / "prepared"
    write_slices(kept / "acdc-train.npz", [labelled(name) for name in names])
    write_slices(kept / "synthetic-train.npz", [labelled("s", "synthetic")])
    for dataset in ("acdc", "synthetic"):
        write_slices(kept / f"{dataset}-validation.npz", [labelled("patient018", dataset)])
    run = tmp_path / "folds" / "1-of-3"
    folder = train_without("cine_unet", names[1:2], tmp_path, run, steps=1)
    fitted = read_slices(run / "prepared" / "acdc-train.npz")
    assert [entry.patient for entry in fitted] == [names[0], names[2]]
    assert len(read_slices(run / "prepared" / "synthetic-train.npz")) == 1
    assert (folder / "cine_unet.toml").is_file()
    stamp = (run / "prepared" / "acdc-train.npz").stat().st_mtime_ns
    train_without("cine_unet", names[1:2], tmp_path, run, steps=1)  # goes on after a stop
    assert (run / "prepared" / "acdc-train.npz").stat().st_mtime_ns == stamp


def test_a_set_of_which_nothing_is_left_is_not_read_anew(tmp_path):
    kept = tmp_path / "folds" / "prepared"
    write_slices(kept / "sunnybrook-train.npz", [labelled("SC-N-02", "sunnybrook")])
    write_slices(kept / "synthetic-train.npz", [labelled("s", "synthetic")])
    for dataset in ("sunnybrook", "synthetic"):
        write_slices(kept / f"{dataset}-validation.npz", [labelled("v", dataset)])
    run = tmp_path / "folds" / "1-of-1"
    folder = train_without("cine_unet", ["s"], tmp_path, run, steps=1)
    assert sorted(path.name for path in (run / "prepared").glob("*-train.npz")) == [
        "sunnybrook-train.npz"
    ]
    assert fitted_sets(card("cine_unet", folder)) == {"sunnybrook"}


def test_wilson_interval_is_that_of_the_literature():
    """Newcombe, Statistics in Medicine 1998, table I: 81 of 263 and 15 of 148."""
    assert wilson_interval(81, 263) == pytest.approx((0.2553, 0.3662), abs=1e-4)
    assert wilson_interval(15, 148) == pytest.approx((0.0624, 0.1605), abs=1e-4)
    assert wilson_interval(20, 20)[1] == pytest.approx(1.0)
