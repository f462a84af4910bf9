"""What is no ECG sheet and no perfusion display is refused; sheets and displays are not."""

import io
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from dicom_node.phantom_spect import write_spect_study
from models.ecg_sheet import PLAIN, draw_sheet
from models.spect_axis import find_left_ventricle
from models.spect_sheet import sheet
from models.synthetic.ecg import synthesise_ecg
from models.synthetic.spect import synthesise_spect
from models.training.paper import random_style, scanned
from pipeline.case import Sources
from pipeline.errors import Rejection
from pipeline.picture_case import PictureCase, SpectCase
from pipeline.pixels import decode_instance
from pipeline.spect_input import perfusion_view
from pipeline.stages.ecg_plausibility import CheckEcgSheet, sheet_features, why_no_sheet
from pipeline.stages.perfusion_plausibility import CheckPerfusionCapture, why_no_display
from tests.unit.pipeline.decoys import decoys, tomograms

NOWHERE = Sources(sources=(), missing=(), missing_fraction=0.0, headers={}, digests={})


def ecg_sheet(seed, *, handled):
    drawn = synthesise_ecg(seed)
    rng = np.random.default_rng(seed)
    style = random_style(rng) if handled else PLAIN
    picture = draw_sheet(drawn.leads, drawn.hz, head=("name of a hospital",), style=style)
    return scanned(picture, rng) if handled else picture


def display(seed):
    study = synthesise_spect(seed)
    views = ((one, find_left_ventricle(one)) for one in (study.stress, study.rest))
    return sheet(*views)


@pytest.mark.parametrize("seed", range(12))
def test_printed_and_scanned_sheets_are_accepted(seed):
    assert why_no_sheet(sheet_features(ecg_sheet(seed, handled=seed > 2))) is None


@pytest.mark.parametrize("seed", range(4))
def test_sheets_that_went_through_jpeg_are_accepted(seed):
    content = io.BytesIO()
    Image.fromarray(ecg_sheet(seed, handled=False)).save(content, "JPEG", quality=95)
    assert why_no_sheet(sheet_features(np.asarray(Image.open(content)))) is None


def test_one_strip_alone_is_no_sheet():
    drawn = synthesise_ecg(3)
    sheet = draw_sheet(drawn.leads, drawn.hz).copy()
    above = int(0.75 * len(sheet))
    sheet[:above] = draw_sheet(np.zeros_like(drawn.leads), drawn.hz)[:above]
    assert why_no_sheet(sheet_features(sheet)) == "no traces run across it"


@pytest.mark.parametrize("seed", range(4))
def test_perfusion_displays_are_accepted_in_colour_and_grey(seed):
    colours = display(seed)
    assert why_no_display(colours) is None
    assert (
        why_no_display(np.repeat(colours.mean(-1, keepdims=True), 3, -1).astype(np.uint8)) is None
    )


def test_no_drawn_decoy_is_taken_for_either():
    refused = Counter()
    for kind, picture in decoys():
        for name, why in (
            ("sheet", why_no_sheet(sheet_features(picture))),
            ("display", why_no_display(picture)),
        ):
            assert why, f"{kind} was taken for a {name}"
            refused[name] += 1
    assert refused["sheet"] == refused["display"] >= 50


def test_no_decoy_of_real_images_is_taken_for_either(real_data):
    found = [one for one in decoys(real_data) if "cine" in one.kind or "MR" in one.kind]
    assert len(found) >= 12
    for kind, picture in found:
        landscape = picture[: len(picture) * 3 // 4]
        assert why_no_sheet(sheet_features(landscape)), kind
        assert why_no_display(picture), kind


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"aspect": 1.0}, "wide"),
        ({"paper": 60.0}, "dark"),
        ({"ink": 0.0}, "ink"),
        ({"grid": 0.2}, "grid"),
        ({"grid_per_width": 200.0}, "squares"),
        ({"traces": 0.5}, "traces"),
    ],
)
def test_each_part_of_a_sheet_is_needed(changed, words):
    found = sheet_features(ecg_sheet(1, handled=False))
    assert words in why_no_sheet(replace(found, **changed))


@pytest.mark.parametrize("stage", [CheckEcgSheet(), CheckPerfusionCapture()])
def test_a_stage_refuses_with_a_reason_and_leaves_alone_what_the_node_drew(stage):
    kind = PictureCase if isinstance(stage, CheckEcgSheet) else SpectCase
    white = np.full((400, 600, 3), 255, np.uint8)
    case = kind(NOWHERE, subject="ecg", picture=white)
    with pytest.raises(Rejection, match="does not look like"):
        stage(case)
    drawn = replace(case, drawn=True)
    assert stage(drawn) is drawn


def test_tomograms_of_anything_but_a_heart_are_refused(tmp_path):
    write_spect_study(tmp_path, 3, views=("rest",))
    (path,) = tmp_path.glob("*.dcm")
    heart = decode_instance(path, "1.2")
    perfusion_view(heart)  # is accepted
    for kind, counts in tomograms(heart.images.shape):
        with pytest.raises(Rejection) as refused:
            perfusion_view(replace(heart, images=counts))
        assert refused.value.code == "no_left_ventricle", kind
