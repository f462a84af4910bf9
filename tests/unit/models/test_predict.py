"""The shipped networks on hearts whose place and shape are known."""

from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch

from config.errors import ConfigError
from models.backend import Backend, choose_backend
from models.ed_es_detector import central_frame
from models.predict import (
    HeartLocaliser,
    PhaseDetector,
    StackSegmenter,
    lv_evidence,
)
from models.registry import WeightsError, build, card, save_weights
from models.split import patients
from models.synthetic.cine import synthesise_cine
from models.training.acdc import read_patient
from models.training.cards import write_card
from models.training.ed_es_task import EdEsTask, SequenceSampling
from models.training.sequences import CineSequence


@pytest.fixture(scope="module")
def localiser():
    return HeartLocaliser()


@pytest.fixture(scope="module")
def segmenter():
    return StackSegmenter()


def centre_of(labels):
    return np.argwhere(np.isin(labels, (1, 2)))[:, -2:].mean(axis=0)


def distance_mm(found, truth, spacing):
    return float(np.hypot(*((np.array(found) - truth) * spacing)))


@pytest.mark.parametrize("offset_mm", [(0, 0), (60, 0), (-60, 0), (0, 60), (0, -60), (42, -42)])
def test_a_synthetic_heart_60_mm_off_centre_is_found(localiser, offset_mm):
    heart = synthesise_cine(
        3005, phases=2, rows=240, columns=230, pixel_spacing_mm=(1.5, 1.7),
        heart_offset_mm=offset_mm,
    )  # fmt: skip
    found = localiser(heart.frames[0], heart.pixel_spacing_mm)
    truth = centre_of(heart.labels[0])
    assert distance_mm(found.centre_yx, truth, heart.pixel_spacing_mm) < 10


def test_synthetic_slices_beyond_the_lv_are_told_apart(localiser):
    heart = synthesise_cine(3006, phases=2)
    probability = localiser(heart.frames[0], heart.pixel_spacing_mm).lv_probability
    pixels = np.isin(heart.labels[0], (1, 2)).sum(axis=(1, 2))
    assert (probability[pixels > 300] > 0.5).mean() >= 0.85
    assert (probability[pixels == 0] < 0.5).mean() >= 0.5


@pytest.mark.parametrize("shift_mm", [(60, 0), (-60, 0), (0, 60), (0, -60)])
def test_a_real_heart_60_mm_off_centre_is_found_and_labelled_alike(
    localiser, segmenter, real_data, shift_mm
):
    volume, _ = read_patient(real_data, patients("acdc", "test")[0])
    spacing = volume.pixel_spacing_mm
    start = centre_of(volume.labels)
    size = [round(420 / step) for step in spacing]
    corner = [
        round((length - 1) / 2 + shift / step - place)
        for length, shift, step, place in zip(size, shift_mm, spacing, start, strict=True)
    ]
    canvas = np.zeros((len(volume.images), *size), dtype=np.float32)
    rows = [max(corner[0], 0), min(corner[0] + volume.images.shape[1], size[0])]
    columns = [max(corner[1], 0), min(corner[1] + volume.images.shape[2], size[1])]
    canvas[:, rows[0] : rows[1], columns[0] : columns[1]] = volume.images[
        :,
        rows[0] - corner[0] : rows[1] - corner[0],
        columns[0] - corner[1] : columns[1] - corner[1],
    ]
    found = localiser(canvas, spacing)
    assert distance_mm(found.centre_yx, start + corner, spacing) < 12
    labels = segmenter(canvas[None], range(len(canvas)), spacing, found.centre_yx)[0]
    pixels = np.argwhere(labels == 1)
    back = np.zeros(volume.labels.shape, dtype=bool)
    inside = pixels - [0, *corner]
    back[tuple(inside.T)] = True
    truth = volume.labels == 1
    assert 2 * (back & truth).sum() / (back.sum() + truth.sum()) > 0.85


def test_an_image_without_a_heart_shows_no_lv(localiser):
    noise = np.random.default_rng(0).rayleigh(10, size=(3, 200, 200)).astype(np.float32)
    assert (localiser(noise, (1.5, 1.5)).lv_probability < 0.5).all()
    empty = localiser(np.zeros((2, 180, 160), dtype=np.float32), (1.5, 1.5))
    assert (empty.lv_probability < 0.5).all()
    assert np.isfinite(empty.centre_yx).all()


@pytest.mark.parametrize("spacing", [(1.6, 1.6), (1.2, 2.0)])
def test_a_synthetic_heart_is_labelled(localiser, segmenter, spacing):
    size = (round(310 / spacing[0]), round(310 / spacing[1]))
    heart = synthesise_cine(3007, phases=2, rows=size[0], columns=size[1], pixel_spacing_mm=spacing)
    where = localiser(heart.frames[0], spacing)
    slices = range(len(heart.frames[0]))
    labels = segmenter(heart.frames[:1], slices, spacing, where.centre_yx)[0]
    assert labels.dtype == np.uint8
    assert labels.shape == heart.labels[0].shape
    for label in (1, 2, 3):
        found, truth = labels == label, heart.labels[0] == label
        assert 2 * (found & truth).sum() / (found.sum() + truth.sum()) > 0.8


def test_the_same_slices_get_the_same_labels_alone_or_together(segmenter):
    heart = synthesise_cine(3008, slices=6, phases=4)
    place = heart.pixel_spacing_mm, tuple(centre_of(heart.labels[0]))
    together = segmenter(heart.frames, range(6), *place)
    np.testing.assert_array_equal(together, segmenter(heart.frames, range(6), *place))
    alone = segmenter(heart.frames[3:], [1, 2], *place)
    assert (alone[0] != together[3, 1:3]).sum() <= 4


def test_with_care_left_and_right_weigh_the_same(segmenter):
    frames = synthesise_cine(3008, slices=6, phases=2).frames
    middle = tuple((length - 1) / 2 for length in frames.shape[2:])
    ask = partial(segmenter, slices=range(6), pixel_spacing_mm=(1.5, 1.5), centre_yx=middle)
    flipped = np.ascontiguousarray(frames[..., ::-1])
    differ = [
        (ask(frames, careful=careful) != ask(flipped, careful=careful)[..., ::-1]).sum()
        for careful in (True, False)
    ]
    assert differ[0] <= 8 < 40 < differ[1]


def test_labels_stay_inside_a_crop_at_the_edge_of_the_image(segmenter):
    image = np.random.default_rng(0).random((1, 1, 90, 80)).astype(np.float32)
    assert segmenter(image, [0], (1.5, 1.5), (-300.0, 500.0)).sum() == 0
    assert segmenter(image, [0], (1.5, 1.5), (0.0, 0.0)).shape == (1, 1, 90, 80)


def test_a_network_with_context_sees_the_neighbours_of_a_slice(tmp_path):
    """Neighbours lie in the order of the stack; beyond its ends the slice itself repeats."""
    _write_context_model(tmp_path)
    segmenter = StackSegmenter("context", folder=tmp_path)
    frames = np.random.default_rng(1).random((2, 5, 64, 64)).astype(np.float32)
    place = (2.0, 2.0), (31.5, 31.5)
    inner = segmenter(frames, [2], *place)
    changed = frames.copy()
    changed[:, [0, 4]] = 0
    np.testing.assert_array_equal(segmenter(changed, [2], *place), inner)
    changed[:, 3] = 0
    assert (segmenter(changed, [2], *place) != inner).any()
    cut = segmenter(frames[:, 2:], [0, 1, 2], *place)
    np.testing.assert_array_equal(cut[:, 1:], segmenter(frames, [3, 4], *place))
    repeated = frames[:, [2, 2, 3]]
    np.testing.assert_array_equal(cut[:, :1], segmenter(repeated, [1], *place))


def _write_context_model(folder):
    torch.manual_seed(0)
    parameters = {"slices": 3, "width": 4, "levels": 3}
    network = build("residual_unet_2d", parameters)
    torch.nn.init.zeros_(network.heads[-1].bias)
    grid = {"rows": 32, "columns": 32, "spacing_mm": 4.0, "supersample": 1, "context": 1}
    _write_model(folder, "context", "segmentation", network, "residual_unet_2d", parameters, grid)


def _write_model(folder, name, task, network, architecture, parameters, geometry):
    weights = save_weights(network, folder / f"{name}.npz")
    write_card(
        replace(
            card("cine_unet"), name=name, task=task, architecture=architecture,
            parameters=parameters, input=geometry, weights_file=f"{name}.npz",
            weights_sha256=weights,
        ),
        folder,
    )  # fmt: skip


@pytest.mark.parametrize(("slices", "labelled"), [(5, [1, 2, 3]), (2, [0, 1]), (6, [5])])
def test_a_network_of_windows_labels_the_slices_asked_for(tmp_path, slices, labelled):
    torch.manual_seed(1)
    parameters = {"width": 2, "levels": 2, "classes": 4}
    network = build("unet_3d", parameters)
    geometry = {"rows": 32, "columns": 32, "spacing_mm": 4.0, "supersample": 1, "depth": 3}
    _write_model(tmp_path, "windows", "segmentation", network, "unet_3d", parameters, geometry)
    segmenter = StackSegmenter("windows", folder=tmp_path)
    frames = np.random.default_rng(1).random((2, slices, 64, 64)).astype(np.float32)
    place = (2.0, 2.0), (31.5, 31.5)
    every = segmenter(frames, range(slices), *place)
    assert len(np.unique(every)) > 1
    np.testing.assert_array_equal(segmenter(frames, labelled, *place), every[:, labelled])


def test_the_detector_sees_in_service_what_it_saw_in_training(tmp_path):
    """A cine of which every slice is the same image has that image for its median."""
    torch.manual_seed(0)
    parameters = {"width": 2, "size": 64}
    network = build("ed_es_detector", parameters)
    sampling = SequenceSampling(size=64, field_mm=48)
    geometry = {"rows": 64, "columns": 64, "spacing_mm": 1.0, "field_mm": 48}
    _write_model(
        tmp_path, "frames", "ed_es_detection", network, "ed_es_detector", parameters, geometry
    )
    detector = PhaseDetector("frames", folder=tmp_path)
    frames = np.random.default_rng(2).integers(0, 255, (9, 50, 60)).astype(np.uint8)
    entry = CineSequence(frames, (1.5, 1.2), (24.0, 31.0), 0, 3, "synthetic", "synthetic-1")
    task = EdEsTask(sampling, [entry], [entry])
    with torch.inference_mode():
        logits = network.eval()(task.plain(entry))[0]
    probability = logits.softmax(dim=0).numpy()
    stack = np.repeat(frames[:, None].astype(np.float32), 4, axis=1)
    found = detector(stack, entry.pixel_spacing_mm, entry.centre_yx)
    assert found == (central_frame(probability[0]), central_frame(probability[1]))
    moved = detector(np.roll(stack, 2, axis=0), entry.pixel_spacing_mm, entry.centre_yx)
    assert [(one.frame + 2) % 9 for one in found] == [one.frame for one in moved]


def test_a_model_of_another_task_is_refused():
    with pytest.raises(WeightsError, match="for localisation, not for segmentation"):
        StackSegmenter("heart_localiser")
    with pytest.raises(WeightsError, match="no model"):
        HeartLocaliser("nowhere")


def test_the_device_is_chosen_or_refused():
    import torch

    assert choose_backend("cpu").device == "cpu"
    if torch.cuda.is_available():
        assert choose_backend("auto").device == choose_backend("cuda").device == "cuda"
    else:
        assert choose_backend("auto").device == "cpu"
        with pytest.raises(ConfigError, match="cuda"):
            choose_backend("cuda")
    assert Backend().name == f"torch-{torch.__version__}-cpu-fp32"


def test_auto_rounds_only_where_the_processor_does(monkeypatch):
    import torch

    for able, expected in (("avx512_bf16", "bfloat16"), ("avx2", "float32")):
        monkeypatch.setattr(torch.cpu, "get_capabilities", lambda able=able: {able: True})
        assert choose_backend("cpu", "auto").precision == expected
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"amx_bf16": True})
    assert choose_backend("auto", "auto").precision == "float32"


def test_threads_are_set_only_when_asked():
    import torch

    before = torch.get_num_threads()
    choose_backend("cpu", threads=0)
    assert torch.get_num_threads() == before
    choose_backend("cpu", threads=1)
    assert torch.get_num_threads() == 1
    torch.set_num_threads(before)


def test_bfloat16_rounds_and_labels_the_same_heart(segmenter):
    heart = synthesise_cine(3006, phases=2)
    rounding = StackSegmenter(backend=Backend(precision="bfloat16"))
    middle, centre = range(4, 7), tuple(centre_of(heart.labels[0]))
    one, other = (
        look(heart.frames, middle, heart.pixel_spacing_mm, centre) for look in (segmenter, rounding)
    )
    assert 0 < (one != other).mean() < 0.002
    assert Backend(precision="bfloat16").name.endswith("bf16")


def test_which_slices_count_does_not_hang_on_the_precision(localiser):
    heart = synthesise_cine(3006, phases=2)
    rounding = HeartLocaliser(backend=Backend(precision="bfloat16"))
    one, other = (look(heart.frames[0], heart.pixel_spacing_mm) for look in (localiser, rounding))
    np.testing.assert_array_equal(one.lv_probability, other.lv_probability)


def test_evidence_grows_with_the_lv():
    import torch

    weak, strong = torch.full((1, 9, 9), 0.01), torch.full((1, 9, 9), 0.01)
    strong[0, 3:6, 3:6] = 0.9
    assert lv_evidence(weak)[0] < 0 < lv_evidence(strong)[0]
