"""The study of the slice classifier: what it compares, its folds, its report, and going on."""

import json
from dataclasses import replace

import pytest
import torch

from models.training import study_lv_slices as module
from models.training.emidec import SAME_EXAM
from models.training.slices import write_slices
from models.training.study_lv_slices import FOLDS, Run, fold_of, runs, study_lv_slices


@pytest.fixture(autouse=True)
def _same_threads():
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def test_every_comparison_of_the_design_is_there_once():
    every = runs()
    assert len(set(every)) == len(every) == 15 + 12 - 2 + 3
    for name in ("A1", "A2", "A3"):
        folds = [run.fold for run in every if run.setting == f"{name}-adam-0.0001"]
        assert sorted(folds) == list(range(FOLDS))
    rates = {(run.network, run.optimiser, run.rate) for run in every}
    assert {("A2", "sgd", rate) for rate in (1e-4, 1e-3, 1e-2)} < rates
    assert {name for name, _, _ in rates} == {
        "A1",
        "A2",
        "A3",
        "SqueezeNet",
        "AlexNet",
        "GoogLeNet",
    }


def test_each_network_is_the_one_of_its_name():
    with torch.device("meta"):
        kinds = {run.network: type(run.build()).__name__ for run in runs()}
    small = dict.fromkeys(("A1", "A2", "A3"), "SliceCNN")
    assert kinds == small | {name: name for name in ("SqueezeNet", "AlexNet", "GoogLeNet")}


def test_folds_are_even_and_keep_a_patient_together():
    names = [f"patient{number:03d}" for number in range(43)]
    folds = fold_of(names * 3)
    sizes = [list(folds.values()).count(fold) for fold in range(FOLDS)]
    assert max(sizes) - min(sizes) <= 1
    assert folds == fold_of(names[::-1])
    for copy, original in SAME_EXAM.items():
        both = fold_of([*names, copy, original])
        assert both[copy] == both[original]


def test_a_study_runs_reports_and_goes_on(tmp_path, monkeypatch, invented_slices, lge_slice):
    entries = [
        replace(entry, patient=f"p{index}")
        for index, entry in enumerate((*invented_slices, lge_slice))
    ]
    entries += [replace(entries[6], patient=f"empty{index}") for index in range(4)]
    prepared = tmp_path / "prepared"
    for part in ("train", "validation"):
        for name in ("synthetic", "synthetic_lge"):
            write_slices(prepared / f"{name}-{part}.npz", [entries[7]])
    write_slices(prepared / "acdc-train.npz", entries)
    monkeypatch.setattr(module, "_test_slices", lambda data: iter((entries[0], entries[6])))
    monkeypatch.setattr(module, "PAPER_SETTINGS", replace(module.PAPER_SETTINGS, batch=2))
    monkeypatch.setattr(module, "_QUICK_STEPS", 2)
    monkeypatch.setattr(module, "_QUICK_SHARE", 1)
    monkeypatch.setattr(module, "FOLDS", 2)
    chosen = [Run("A1", "adam", 1e-4, 0), Run("A1", "adam", 1e-4, 1), Run("A2", "sgd", 1e-2, 0)]
    monkeypatch.setattr(module, "runs", lambda: tuple(chosen))
    said = []
    report = study_lv_slices(tmp_path / "none", tmp_path, quick=True, threads=1, say=said.append)
    text = report.read_text()
    assert "Quick run" in text
    assert "Best over its folds: A1-adam-0.0001" in text
    (row,) = [line for line in text.splitlines() if line.startswith("| A1-adam-0.0001")]
    assert "| 2 | " in row
    assert "| 2 / 2 | 83.1 |" in row
    assert (report.parent / "curves.png").read_bytes().startswith(b"\x89PNG")
    content = json.loads((report.parent / "study.json").read_text())
    assert content["quick"]
    assert set(content["runs"]) == {run.name for run in chosen}
    written = (report.parent / chosen[0].name / "result.json").stat().st_mtime_ns
    study_lv_slices(tmp_path / "none", tmp_path, quick=True, threads=1, say=said.append)
    assert (report.parent / chosen[0].name / "result.json").stat().st_mtime_ns == written
    assert len(said) == 6
