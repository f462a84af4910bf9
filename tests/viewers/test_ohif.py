"""A study that the node returned, in OHIF as a radiologist opens it (decision 11).

The tests share one tab and go through the list of series as a reader would; screenshots lie in
`test-output/viewers`.
"""

from pathlib import Path

import highdicom as hd
import numpy as np
import pytest
from pydicom import Dataset

from pipeline.results.codes import QUANTITIES
from tests.acceptance.studies import as_reported
from tests.unit.pipeline.result_cases import filled
from tests.viewers.browser import Shown, Viewer, eventually
from tests.viewers.conftest import Returned

PICTURES = Path(__file__).parents[2] / "test-output" / "viewers"
PHASES = ("ED", "ES")
PAGE = "Cardiac CAD report, cine, automatic, unverified"
# Which of red, green, blue a segment is shown in.
COLOURS = {"LV cavity": 0, "LV myocardium": 1, "RV cavity": 2}


def key_images(study: Returned, phase: str) -> dict[str, Dataset]:
    images = study.of_series(f"{phase} key images, cardiac CAD")
    return {str(image.SOPInstanceUID): image for image in images}


def masks_of(study: Returned, phase: str) -> dict[str, dict[str, np.ndarray]]:
    """Masks [y, x] by label of each key image: those on the original that it is a copy of."""
    copies = {
        str(image.SourceImageSequence[0].ReferencedSOPInstanceUID): uid
        for uid, image in key_images(study, phase).items()
    }
    (dataset,) = study.of_series(f"Cardiac CAD {phase} segmentation")
    seg = hd.seg.Segmentation.from_dataset(dataset)
    uids = [uid for _, _, uid in seg.get_source_image_uids()]
    found: dict[str, dict[str, np.ndarray]] = {copies[uid]: {} for uid in uids}
    for number in seg.segment_numbers:
        label = seg.get_segment_description(number).segment_label
        pixels = seg.get_pixels_by_source_instance(
            uids, segment_numbers=[number], assert_missing_frames_are_empty=True
        )
        for uid, mask in zip(uids, pixels[..., 0], strict=True):
            found[copies[uid]][label] = mask > 0
    return found


def test_a_returned_study_opens_with_all_its_series(study: Returned, viewer: Viewer) -> None:
    expected = {(one.Modality, one.SeriesDescription) for one in study.objects}
    assert viewer.series() == expected
    assert len(expected) == 1 + 3 + 6 + 2


def test_each_destination_gets_the_objects_of_its_profiles(study: Returned) -> None:
    results = sum(one.SeriesDescription != "Synthetic cine SAX" for one in study.objects)
    assert study.sent == {"pacs": results, "again": 5}


@pytest.mark.parametrize("phase", PHASES)
def test_masks_are_drawn_on_the_images_of_their_phase(
    study: Returned, viewer: Viewer, phase: str
) -> None:
    words = f"{phase} segmentation, cardiac CAD"
    images, masks = key_images(study, phase), masks_of(study, phase)
    viewer.show("SEG", words)
    loaded = eventually(lambda: viewer.labelmaps(words))
    assert set(loaded) == set(images)
    for uid in images:
        for label, mask in loaded[uid].items():
            expected = masks.get(uid, {}).get(label, np.zeros(mask.size, bool))
            np.testing.assert_array_equal(mask, expected.ravel())
    shown = eventually(lambda: drawn(viewer, masks))
    viewer.picture(PICTURES / f"segmentation-{phase}.png")
    assert shown.sop_instance_uid in images


def drawn(viewer: Viewer, masks: dict[str, dict[str, np.ndarray]]) -> Shown | None:
    """The image that is shown, once its masks have the colours of their segments there alone."""
    shown, picture = viewer.shown(), viewer.picture()
    of_image = masks.get(shown.sop_instance_uid)
    if of_image is None:
        return None
    labelled = np.any([*of_image.values()], axis=0)
    near = np.zeros_like(labelled)
    rows, columns = np.nonzero(labelled)
    near[rows.min() - 4 : rows.max() + 5, columns.min() - 4 : columns.max() + 5] = True
    if share_coloured(picture, shown, inner(near & ~labelled), None) > 0.02:
        return None
    for label, mask in of_image.items():
        if mask.any() and share_coloured(picture, shown, inner(mask), COLOURS[label]) < 0.98:
            return None
    return shown


def inner(mask: np.ndarray) -> np.ndarray:
    """Pixels of a mask whose neighbours are of it, too: borders are drawn in between."""
    wide = np.pad(mask, 1)
    up, down, left, right = wide[:-2, 1:-1], wide[2:, 1:-1], wide[1:-1, :-2], wide[1:-1, 2:]
    return mask & up & down & left & right


def share_coloured(
    picture: np.ndarray, shown: Shown, mask: np.ndarray, colour: int | None
) -> float:
    """Share of the pixels of a mask that are shown in a colour, or in any."""
    rows, columns = np.nonzero(mask)
    if not rows.size:
        return 0.0 if colour is None else 1.0
    x, y = np.rint(shown.on_page(np.c_[columns + 0.5, rows + 0.5])).astype(int).T
    pixels = picture[y, x].astype(int)
    coloured = np.ptp(pixels, axis=1) > 40
    return float(np.mean(coloured & (colour is None or pixels.argmax(axis=1) == colour)))


@pytest.mark.parametrize("phase", PHASES)
def test_outlines_are_drawn_on_the_right_image(study: Returned, viewer: Viewer, phase: str) -> None:
    viewer.show("SR", f"{phase} contours and numbers, cardiac CAD, automatic, unverified")
    images, masks = key_images(study, phase), masks_of(study, phase)
    shown = eventually(
        lambda: viewer.texts() and viewer.shown().sop_instance_uid in images and viewer.shown()
    )
    viewer.picture(PICTURES / f"report-{phase}.png")
    cavity = masks[shown.sop_instance_uid]["LV cavity"]
    wall = masks[shown.sop_instance_uid]["LV myocardium"]
    outlines = [filled(points, cavity.shape) for points in viewer.outlines()]
    for expected in (cavity, cavity | wall):
        best = max(
            np.count_nonzero(one & expected) / np.count_nonzero(one | expected) for one in outlines
        )
        assert best > 0.9


def test_every_number_can_be_read(study: Returned, viewer: Viewer) -> None:
    viewer.show("SR", "ED contours and numbers, cardiac CAD, automatic, unverified")
    expected = sorted(
        f"{value:.2f}"
        for name, value in as_reported(study.findings).items()
        if not QUANTITIES[name].site
    )
    read: set[str] = set()
    uids = key_images(study, "ED")
    for _ in range(len(uids)):
        lines = tuple(eventually(viewer.texts))
        read |= {*lines}
        if len(read) >= len(expected):
            break
        viewer.next_outline()
        eventually(lambda seen=lines: tuple(viewer.texts()) != seen)
    assert sorted(line.rpartition(": ")[2].split()[0] for line in read) == expected


def test_the_page_can_be_read(viewer: Viewer) -> None:
    viewer.show("DOC", PAGE)
    shown = viewer.page.wait_for_selector("object[type='application/pdf']")
    assert shown is not None
    content = viewer.page.evaluate(
        "address => fetch(address).then(answer => answer.text()).then(text => text.slice(0, 5))",
        shown.get_attribute("data"),
    )
    assert content == "%PDF-"


def test_full_objects_beside_them_do_no_harm(study: Returned, viewer: Viewer) -> None:
    """OHIF draws no SEG on a cine, and nothing of a report without outlines: it stays usable."""
    viewer.show("SEG", "Cardiac CAD ED segmentation")
    eventually(lambda: viewer.labelmaps("Cardiac CAD ED segmentation"))
    viewer.show("SR", PAGE)
    eventually(lambda: viewer.page.locator(".cornerstone-canvas").count() == 0)
    assert_usable(study, viewer)


def test_no_script_failed(viewer: Viewer) -> None:
    assert viewer.errors == []


def test_the_page_as_an_image_does_no_harm(study: Returned, viewer: Viewer) -> None:
    """OHIF fails to draw a colour image where a volume was before: the next series can be seen."""
    viewer.show("OT", PAGE)
    eventually(lambda: viewer.errors or bright(viewer))
    assert_usable(study, viewer)


def bright(viewer: Viewer) -> bool:
    """Whether a white page is shown."""
    return bool(np.mean(viewer.picture()[200:700, 400:1100].min(axis=2) > 200) > 0.5)


def assert_usable(study: Returned, viewer: Viewer) -> None:
    images = key_images(study, "ES")
    viewer.show("SR", "ES contours and numbers, cardiac CAD, automatic, unverified")
    eventually(lambda: viewer.texts() and viewer.shown().sop_instance_uid in images, timeout_s=60)
