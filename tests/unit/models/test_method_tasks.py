"""The tasks of the published methods: what they draw, and that a network learns it."""

import dataclasses
import json
import math

import numpy as np
import pytest
import torch

from models.initial import load_initial
from models.preprocess import CropGrid
from models.registry import build
from models.scanning import scan
from models.split import SplitError, patients
from models.training.case_file import read_cases, write_cases
from models.training.cases import LabelledVolume
from models.training.ed_es_task import (
    EdEsTask,
    SequenceSampling,
    at_length,
    frame_classes,
)
from models.training.loop import fit
from models.training.recipes import RECIPES
from models.training.regression_task import RegressionTask, VolumeSampling
from models.training.sequences import CineSequence, acdc_sequence, fitting_sequences
from models.training.tasks import NoDataError, TrainSettings
from models.training.volumes import VolumeCase, case_of_volume, fitting_volumes
from models.training.window_task import WindowSampling, WindowTask, stacks


@pytest.fixture(autouse=True)
def _one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def volume(seed=0, slices=5, phase="ed", radius=12.0):
    """A round cavity that tapers, its wall, and an RV beside it; [z, y, x] of 1.5 mm."""
    rng = np.random.default_rng(seed)
    rows, columns = np.mgrid[:80, :90]
    labels = np.zeros((slices, 80, 90), dtype=np.uint8)
    for z in range(slices):
        size = radius * math.sqrt(1 - (z / (slices + 1)) ** 2)
        distance = np.hypot(rows - 40, columns - 48)
        labels[z][np.hypot(rows - 40, columns - 24) < size] = 3
        labels[z][distance < size + 6] = 2
        labels[z][distance < size] = 1
    images = np.array([40, 200, 90, 190])[labels] + rng.normal(0, 8, labels.shape)
    return LabelledVolume(
        images=images.clip(0, 255).astype(np.float32),
        labels=labels,
        pixel_spacing_mm=(1.5, 1.5),
        slice_spacing_mm=10.0,
        patient=f"p{seed}",
        phase=phase,
    )


def slices_of(*volumes):
    from models.training.slices import slices_of_volume

    return tuple(entry for each in volumes for entry in slices_of_volume(each, "acdc"))


def sequence(frames=12, es=5, seed=0, dataset="acdc"):
    """A disc that is largest at frame 0 and smallest at `es`."""
    rng = np.random.default_rng(seed)
    rows, columns = np.mgrid[:70, :70]
    distance = np.hypot(rows - 35, columns - 35)
    phase = np.arange(frames)
    contraction = np.where(phase <= es, phase / es, (frames - phase) / (frames - es))
    images = np.stack([40 + 180 * (distance < 22 - 10 * share) for share in contraction])
    images = images + rng.normal(0, 5, images.shape)
    return CineSequence(
        frames=images.clip(0, 255).astype(np.uint8),
        pixel_spacing_mm=(1.5, 1.5),
        centre_yx=(35.0, 35.0),
        ed=0,
        es=es,
        dataset=dataset,
        patient=f"p{seed}",
    )


def overfit(network, task, steps, size, rate=3e-3):
    """First and last loss of learning one batch by heart."""
    inputs, targets = task.random_batch(size, generator())
    optimiser = torch.optim.AdamW(network.parameters(), rate)
    losses = []
    for _ in range(steps):
        loss = task.loss(network(inputs), targets)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    return losses[0], losses[-1]


SMALL_WINDOWS = WindowSampling(CropGrid(48, 48, 2.0), max_shift_mm=8)
SMALL_VOLUMES = VolumeSampling(CropGrid(48, 48, 2.0), max_shift_mm=8)
SMALL_SEQUENCES = SequenceSampling(size=64, field_mm=60, max_shift_mm=4)


@pytest.mark.parametrize("name", sorted(RECIPES))
def test_a_recipe_builds_a_network_of_shipping_size(name):
    recipe = RECIPES[name]
    with torch.device("meta"):
        network = build(recipe.architecture, recipe.parameters)
    assert sum(value.numel() for value in network.parameters()) < 8e6
    assert recipe.settings.steps > 0


def test_slices_become_volumes_in_order():
    entries = slices_of(volume(1, slices=4), volume(2, slices=3))
    found = stacks(entries[::-1])
    assert [len(stack) for stack in found] == [4, 3]
    assert [entry.position for entry in found[0]] == [0, 1, 2, 3]


@pytest.mark.parametrize("name", ["cine_unet_3d", "cine_pspunet"])
def test_windows_come_from_sets_that_label_every_structure(name):
    assert RECIPES[name].sets == ("acdc", "mnms")


def test_a_window_batch_is_three_normalised_slices_with_labels():
    task = WindowTask(SMALL_WINDOWS, slices_of(volume()), ())
    images, (allowed,) = task.random_batch(4, generator())
    assert images.shape == (4, 1, 3, 48, 48)
    assert allowed.shape == (4, 3, 48, 48)
    assert set(allowed.unique().tolist()) == {1, 2, 4, 8}
    torch.testing.assert_close(images.mean(dim=(3, 4)), torch.zeros(4, 1, 3), rtol=0, atol=1e-4)
    again, _ = task.random_batch(4, generator())
    assert torch.equal(images, again)
    assert not torch.equal(images, task.random_batch(4, generator(1))[0])


def test_windows_overlap_by_all_slices_but_one():
    task = WindowTask(SMALL_WINDOWS, slices_of(volume(slices=6)), ())
    assert [[entry.position for entry in window] for window in task.windows] == [
        [0, 1, 2], [1, 2, 3], [2, 3, 4], [3, 4, 5],
    ]  # fmt: skip


@pytest.mark.parametrize("architecture", ["unet_3d", "pspunet"])
def test_a_window_network_learns_a_batch(architecture):
    task = WindowTask(SMALL_WINDOWS, slices_of(volume()), slices_of(volume(1)))
    torch.manual_seed(0)
    network = build(architecture, {"width": 6})
    first, last = overfit(network, task, steps=25, size=2, rate=2e-2)
    assert last < 0.6 * first
    figures = task.validate(network.eval(), "cpu")
    assert set(figures) == {f"dice_acdc_{name}_ed" for name in ("lv", "myo", "rv")}
    assert all(0 <= value <= 1 for value in figures.values())


def test_validation_of_windows_counts_right_and_wrong_pixels():
    class Oracle(torch.nn.Module):
        """Takes bright for LV cavity (the RV with it) and nothing else."""

        def forward(self, images):
            bright = (images > 0.6).float()
            return torch.cat([1 - bright, bright, bright - 9, bright - 9], dim=1)

    task = WindowTask(SMALL_WINDOWS, slices_of(volume()), slices_of(volume(1)))
    figures = task.validate(Oracle(), "cpu")
    assert figures["dice_acdc_rv_ed"] == 0
    assert 0.5 < figures["dice_acdc_lv_ed"] < 0.8


def test_frames_keep_their_class_at_another_length():
    entry = sequence(frames=12, es=5)
    assert frame_classes(entry, 12).tolist() == [0, 2, 2, 2, 2, 1, 2, 2, 2, 2, 2, 2]
    classes = frame_classes(entry, 24)
    assert (classes[0], classes[10]) == (0, 1)
    last = dataclasses.replace(entry, ed=11)
    assert frame_classes(last, 6)[0] == 0


def test_a_cycle_is_interpolated_across_its_end():
    frames = torch.tensor([0.0, 10.0, 20.0, 30.0]).view(1, 4, 1, 1)
    assert at_length(frames, 8).flatten().tolist() == [0, 5, 10, 15, 20, 25, 30, 15]
    assert at_length(frames, 2).flatten().tolist() == [0, 20]


def test_a_sequence_batch_is_shifted_in_time_with_its_labels():
    task = EdEsTask(SMALL_SEQUENCES, [sequence(frames=20, es=8)], ())
    frames, (classes,) = task.random_batch(6, generator())
    assert frames.shape == (6, 1, 20, 64, 64)
    assert frames[..., :2, :].abs().max() == 0
    assert len({int((row == 0).nonzero()) for row in classes}) > 2
    for row in classes:
        ed, es = int((row == 0).nonzero()), int((row == 1).nonzero())
        assert (es - ed) % 20 == 8
    bright = frames[0, 0, :, 2:62, 2:62].flatten(1)
    counts = (bright > bright.mean(dim=1, keepdim=True)).sum(dim=1)
    assert abs(int(counts.argmin()) - int((classes[0] == 1).nonzero())) <= 1


@pytest.mark.parametrize("loss", ["dice", "cross_entropy"])
def test_the_detector_learns_a_batch(loss):
    sampling = dataclasses.replace(SMALL_SEQUENCES, loss=loss)
    entries = [sequence(es=5), sequence(es=6, seed=1)]
    task = EdEsTask(sampling, entries, entries[:1])
    torch.manual_seed(0)
    network = build("ed_es_detector", {"width": 4, "size": 64})
    first, last = overfit(network, task, steps=60, size=2)
    assert last < 0.5 * first
    figures = task.validate(network.eval(), "cpu")
    assert {"frames_acdc_ed_central", "frames_acdc_es_naive", "review_acdc_es"} <= set(figures)


def test_frame_errors_are_counted_round_the_cycle():
    class Sure(torch.nn.Module):
        def forward(self, frames):
            logits = torch.zeros(1, 3, frames.shape[2])
            logits[0, 0, -1], logits[0, 1, 7] = 9, 9
            logits[0, 2] = 2
            return logits

    figures = EdEsTask(SMALL_SEQUENCES, [sequence()], [sequence()]).validate(Sure(), "cpu")
    assert figures["frames_acdc_ed_central"] == 1
    assert figures["frames_acdc_es_naive"] == 2
    assert figures["review_acdc_ed"] == 0


def test_the_set_shares_decide_what_is_drawn():
    entries = [sequence(frames=12), sequence(frames=15, dataset="synthetic")]
    sampling = dataclasses.replace(SMALL_SEQUENCES, set_shares={"acdc": 1.0, "synthetic": 0.0})
    task = EdEsTask(sampling, entries, ())
    assert {len(task.random_batch(1, generator(seed))[1][0][0]) for seed in range(5)} == {12}
    with pytest.raises(NoDataError, match="acdc"):
        EdEsTask(sampling, [], ())


def test_a_scaled_heart_has_its_volume_scaled():
    case = case_of_volume(volume(slices=4), "acdc")
    task = RegressionTask(dataclasses.replace(SMALL_VOLUMES, max_scale=1.4), [case], ())
    images, (volumes, spacings, _) = task.random_batch(12, generator())
    assert images.shape == (12, 1, 4, 48, 48)
    assert spacings.tolist() == [10.0] * 12
    assert volumes.max() / volumes.min() > 1.3
    pure = dataclasses.replace(case, images=case.cavity * np.uint8(255))
    plain = RegressionTask(task.sampling, [pure], ())
    for seed in range(6):
        shown, true_ml = drawn_volume(plain, pure, seed)
        assert shown == pytest.approx(true_ml, rel=0.03)


def drawn_volume(task, case, seed):
    """Volume of the cavity in a random crop, measured by the scan, and as the task says."""
    from models.training.regression_task import _random_crop

    images, true_ml = _random_crop(case, task.sampling, generator(seed))
    found = scan(images / 255, 2.0).area_mm2.sum().item() * case.slice_spacing_mm / 1000
    return found, true_ml


def test_a_volume_batch_has_one_number_of_slices():
    cases = [case_of_volume(volume(seed, slices=3 + seed % 2), "acdc") for seed in range(6)]
    task = RegressionTask(SMALL_VOLUMES, cases, ())
    seen = {task.random_batch(3, generator(seed))[0].shape[2] for seed in range(8)}
    assert seen == {3, 4}


def test_the_volume_comes_from_the_labels():
    case = case_of_volume(volume(slices=3), "acdc")
    pixels = int((volume(slices=3).labels == 1).sum())
    assert case.volume_ml == pytest.approx(pixels * 1.5 * 1.5 * 10 / 1000)


def test_the_regression_network_learns_a_batch():
    case = case_of_volume(volume(slices=3), "acdc")
    task = RegressionTask(SMALL_VOLUMES, [case], [case])
    torch.manual_seed(0)
    network = build("regression_unet", {"width": 4})
    first, last = overfit(network, task, steps=60, size=2, rate=1e-2)
    assert last < 0.4 * first
    figures = task.validate(network.eval(), "cpu")
    assert set(figures) == {"ml_ed", "dice_raw_ed", "dice_dilated_ed"}


def small_task(name):
    if name == "regression_unet":
        case = case_of_volume(volume(slices=3), "acdc")
        return RegressionTask(SMALL_VOLUMES, [case], [case])
    if name == "ed_es_detector":
        return EdEsTask(SMALL_SEQUENCES, [sequence()], [sequence()])
    return WindowTask(SMALL_WINDOWS, slices_of(volume()), slices_of(volume()))


@pytest.mark.parametrize("name", ["unet_3d", "pspunet", "ed_es_detector", "regression_unet"])
def test_the_training_loop_trains_each_network(name, tmp_path):
    parameters = {"width": 4} | ({"size": 64} if name == "ed_es_detector" else {})
    settings = TrainSettings(steps=2, batch=2, validate_every=2, threads=1)
    torch.manual_seed(0)
    network = build(name, parameters)
    before = next(network.parameters()).detach().clone()
    average = fit(network, small_task(name), tmp_path, settings)
    assert not torch.equal(next(average.parameters()), before)
    (entry,) = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert math.isfinite(entry["loss"])
    assert {key.split("_")[0] for key in entry} & {"dice", "frames", "ml"}
    load_initial(build(name, parameters), tmp_path / "checkpoint.pt")


def test_cases_survive_writing_and_reading(tmp_path):
    cases = (case_of_volume(volume(slices=3), "acdc"), case_of_volume(volume(1), "acdc"))
    bare = dataclasses.replace(cases[0], cavity=None)
    write_cases(tmp_path / "a" / "volumes.npz", (*cases, bare))
    found = read_cases(tmp_path / "a" / "volumes.npz", VolumeCase)
    assert found[2].cavity is None
    for before, after in zip(cases, found, strict=False):
        assert after.pixel_spacing_mm == before.pixel_spacing_mm
        assert after.volume_ml == before.volume_ml
        np.testing.assert_array_equal(after.images, before.images)
        np.testing.assert_array_equal(after.cavity, before.cavity)


def test_test_patients_are_never_drawn(real_data):
    for draw in (
        lambda: fitting_sequences(real_data, "acdc", "test"),
        lambda: fitting_sequences(real_data, "synthetic", "test"),
        lambda: fitting_volumes(real_data, "test"),
    ):
        with pytest.raises(SplitError):
            next(draw())
    forbidden = set(patients("acdc", "test"))
    assert not {entry.patient for entry in fitting_volumes(real_data, "validation")} & forbidden


def test_a_real_cine_shows_the_heart_where_its_labels_say(real_data):
    entry = acdc_sequence(real_data, "patient001")
    assert entry.frames.shape == (30, 95, 100)
    assert (entry.ed, entry.es) == (0, 11)
    row, column = (round(place) for place in entry.centre_yx)
    blood = entry.frames[entry.ed, row - 4 : row + 5, column - 4 : column + 5]
    assert blood.mean() > 1.5 * entry.frames[entry.ed].mean()
