"""A study that the node returned, in OHIF as a radiologist opens it (decision 11).

Cine and late enhancement, on oblong pixels; the study grew, so that there are two results of late
enhancement. The tests share one tab and go through the list of series as a reader would;
screenshots lie in `test-output/viewers`. That of the README is `report-ED.png`, shrunk to 960 x 600
pixels and 96 colours.
"""

from pathlib import Path

import highdicom as hd
import numpy as np
import numpy.typing as npt
import pytest
from pydicom import Dataset

from pipeline.case import LV_CAVITY
from pipeline.findings import SeriesFindings
from pipeline.results.codes import QUANTITIES, UNITS
from tests.acceptance.studies import as_reported, reported
from tests.unit.pipeline.result_cases import filled
from tests.viewers.browser import Shown, Viewer, eventually
from tests.viewers.conftest import CINE_FORM, LGE_FORM, Returned

PICTURES = Path(__file__).parents[2] / "test-output" / "viewers"
PHASES = ("ED", "ES", "LGE")
PAGES = {
    "cine": "Cardiac CAD report, cine, automatic, unverified",
    "lge": "Cardiac CAD report, late enhancement, automatic, unverified",
}
SPACING = {"ED": CINE_FORM, "ES": CINE_FORM, "LGE": LGE_FORM}
# Which of red, green, blue a segment is shown in.
COLOURS = {"LV cavity": 0, "LV myocardium": 1, "RV cavity": 2, "Scar": 0, "No-reflow": 2}


def findings_of(study: Returned, phase: str) -> SeriesFindings:
    return study.lge if phase == "LGE" else study.cine


def numbers_of(phase: str) -> str:
    return f"{phase} contours and numbers, cardiac CAD, automatic, unverified"


def key_images(study: Returned, phase: str) -> dict[str, Dataset]:
    """Copies of the images of a phase, of the newest result."""
    later = "Result 2: " if phase == "LGE" else ""
    images = study.of_series(f"{later}{phase} key images, cardiac CAD")
    return {str(image.SOPInstanceUID): image for image in images}


def original(image: Dataset) -> str:
    """UID of the image that a key image is a copy of."""
    return str(image.SourceImageSequence[0].ReferencedSOPInstanceUID)


def masks_of(study: Returned, words: str) -> dict[str, dict[str, npt.NDArray[np.bool_]]]:
    """Masks [y, x] by label of each image, as the newest SEG of a series holds them."""
    seg = hd.seg.Segmentation.from_dataset(study.of_series(words)[-1])
    uids = [uid for _, _, uid in seg.get_source_image_uids()]
    found: dict[str, dict[str, npt.NDArray[np.bool_]]] = {uid: {} for uid in uids}
    for number in seg.segment_numbers:
        label = seg.get_segment_description(number).segment_label
        pixels = seg.get_pixels_by_source_instance(
            uids, segment_numbers=[number], assert_missing_frames_are_empty=True
        )
        for uid, mask in zip(uids, pixels[..., 0], strict=True):
            found[uid][label] = mask > 0
    return found


def test_a_returned_study_opens_with_all_its_series(study: Returned, viewer: Viewer) -> None:
    expected = {(one.Modality, one.SeriesDescription) for one in study.objects}
    assert viewer.series() == expected
    # Two of the scanner; of the cine 3, 6 and 2; of late enhancement 2, 4 and 2.
    assert len(expected) == 2 + 11 + 8


def test_each_destination_gets_the_objects_of_its_profiles(study: Returned) -> None:
    results = sum(not one.SeriesDescription.startswith("Synthetic") for one in study.objects)
    assert study.sent == {"pacs": results, "again": 5 + 2 * 4}


@pytest.mark.parametrize("phase", ["ED", "ES"])
def test_masks_are_drawn_on_the_images_of_their_phase(
    study: Returned, viewer: Viewer, phase: str
) -> None:
    look_at_masks(study, viewer, phase)


def look_at_masks(study: Returned, viewer: Viewer, phase: str) -> None:
    words = f"{phase} segmentation, cardiac CAD"
    viewer.show("SEG", words)
    assert_drawn(viewer, words, masks_of(study, words), {*key_images(study, phase)})
    viewer.picture(PICTURES / f"segmentation-{phase}.png")


def assert_drawn(
    viewer: Viewer,
    words: str,
    masks: dict[str, dict[str, npt.NDArray[np.bool_]]],
    images: set[str],
) -> None:
    """A segmentation has these masks, on these images alone, and shows them there."""
    loaded = eventually(lambda: viewer.labelmaps(words))
    assert set(loaded) == images
    for uid in images:
        for label, mask in loaded[uid].items():
            expected = masks.get(uid, {}).get(label, np.zeros(mask.size, bool))
            np.testing.assert_array_equal(mask, expected.ravel())
    shown = eventually(lambda: drawn(viewer, masks))
    assert shown.sop_instance_uid in images


def drawn(viewer: Viewer, masks: dict[str, dict[str, npt.NDArray[np.bool_]]]) -> Shown | None:
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


def inner(mask: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    """Pixels of a mask whose neighbours are of it, too: borders are drawn in between."""
    wide = np.pad(mask, 1)
    up, down, left, right = wide[:-2, 1:-1], wide[2:, 1:-1], wide[1:-1, :-2], wide[1:-1, 2:]
    return mask & up & down & left & right


def share_coloured(
    picture: npt.NDArray[np.uint8], shown: Shown, mask: npt.NDArray[np.bool_], colour: int | None
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
def test_outlines_lie_on_the_heart_of_the_right_image(
    study: Returned, viewer: Viewer, phase: str
) -> None:
    viewer.show("SR", numbers_of(phase))
    images = key_images(study, phase)
    masks = masks_of(study, f"{phase} segmentation, cardiac CAD")
    shown = eventually(
        lambda: viewer.texts() and viewer.shown().sop_instance_uid in images and viewer.shown()
    )
    viewer.picture(PICTURES / f"report-{phase}.png")
    uid = shown.sop_instance_uid
    cavity, wall = masks[uid]["LV cavity"], masks[uid]["LV myocardium"]
    outlines = viewer.outlines()
    assert best_overlap(outlines, cavity) > 0.9
    if phase != "LGE":  # the wall there has scar in it, with outlines of its own
        assert best_overlap(outlines, cavity | wall) > 0.9
    # The copies have square pixels, those that they are copies of have not.
    down, across = SPACING[phase]["pixel_spacing_mm"]  # type: ignore[misc]
    side = min(down, across)
    assert images[uid].PixelSpacing == [side, side]
    on_original = [(one - 0.5) * (side / across, side / down) + 0.5 for one in outlines]
    truth = study.truth[original(images[uid])] == LV_CAVITY
    assert best_overlap(on_original, truth) > 0.8


def best_overlap(outlines: list[npt.NDArray[np.float64]], expected: npt.NDArray[np.bool_]) -> float:
    """Share of the union that is in both, of the outline that fits best."""
    insides = [filled(points, expected.shape) for points in outlines]
    return max(
        np.count_nonzero(one & expected) / np.count_nonzero(one | expected) for one in insides
    )


@pytest.mark.parametrize("phase", ["ED", "LGE"])
def test_every_number_can_be_read(study: Returned, viewer: Viewer, phase: str) -> None:
    """With the name and the unit it has in the findings."""
    viewer.show("SR", numbers_of(phase))
    images = key_images(study, phase)
    eventually(lambda: viewer.shown().sop_instance_uid in images)
    expected = lines_of(findings_of(study, phase))
    read: set[str] = set()

    def read_on() -> bool:
        """Read what is shown, then step on; after the last outline comes the first."""
        read.update(viewer.texts())
        if len(read) < len(expected):
            viewer.next_outline()
            viewer.page.wait_for_timeout(500)
        return len(read) >= len(expected)

    eventually(read_on)
    assert {line.casefold() for line in read} == expected


def lines_of(found: SeriesFindings) -> set[str]:
    """What is to be read of numbers of the whole heart: name, two decimals, unit; without case.

    What is told of a ventricle has the name that the findings have; the rest that of its code.
    """
    units = {one.name: UNITS[one.unit].value for one in found.biomarkers}
    return {
        f"{spoken(name)}: {value:.2f} {units[name]}".casefold()
        for name, value in as_reported(found).items()
        if not QUANTITIES[name].site
    }


def spoken(name: str) -> str:
    if name.startswith(("lv_", "rv_")):
        return name.replace("_", " ")
    return QUANTITIES[name].code.meaning


def test_masks_of_late_enhancement_are_drawn_too(study: Returned, viewer: Viewer) -> None:
    """After the contours: see decision 11 of the other order."""
    look_at_masks(study, viewer, "LGE")


def test_masks_of_late_enhancement_are_drawn_on_the_images_themselves(
    study: Returned, viewer: Viewer
) -> None:
    """On their oblong pixels."""
    words = "Cardiac CAD LGE segmentation"
    viewer.show("SEG", words)
    images = {str(one.SOPInstanceUID) for one in study.of_series("Synthetic LGE SAX")}
    assert_drawn(viewer, words, masks_of(study, words), images)


@pytest.mark.parametrize("pipeline", PAGES)
def test_pages_can_be_read_the_earlier_one_too(
    study: Returned, viewer: Viewer, pipeline: str
) -> None:
    pages = study.of_series(PAGES[pipeline])
    documents = [one for one in pages if one.Modality == "DOC"]
    assert len(documents) == (2 if pipeline == "lge" else 1)
    assert viewer.listed("DOC", PAGES[pipeline]).keys() == {one.SOPInstanceUID for one in documents}
    for one in documents:
        viewer.show("DOC", PAGES[pipeline], one.SOPInstanceUID)
        expected = one.EncapsulatedDocument[: one.EncapsulatedDocumentLength]
        assert expected.startswith(b"%PDF-")
        eventually(lambda expected=expected: viewer.document().rstrip(b"\0") == expected)


def test_of_two_results_the_newer_one_is_shown(study: Returned, viewer: Viewer) -> None:
    """In the series of the first; its numbers are not those of the first."""
    assert as_reported(study.lge) != as_reported(study.earlier)
    roles = {
        ("SR", numbers_of("LGE")): "key_sr_lge",
        ("SR", PAGES["lge"]): "sr",
        ("SEG", "LGE segmentation, cardiac CAD"): "key_seg_lge",
        ("SEG", "Cardiac CAD LGE segmentation"): "seg_lge",
    }
    for series, role in roles.items():
        older, newer = (study.of_role(found, role) for found in (study.earlier, study.lge))
        assert older.SeriesInstanceUID == newer.SeriesInstanceUID
        assert [*viewer.listed(*series)] == [newer.SOPInstanceUID]


def test_the_earlier_result_stays_and_can_be_read(study: Returned, viewer: Viewer) -> None:
    report = study.of_role(study.earlier, "sr")
    assert reported(report) == as_reported(study.cine) | as_reported(study.earlier)
    images = study.of_series("LGE key images, cardiac CAD")
    viewer.show("MR", "LGE key images, cardiac CAD")
    uids = {str(image.SOPInstanceUID) for image in images}
    eventually(lambda: viewer.shown().sop_instance_uid in uids)


def open_again(study: Returned, viewer: Viewer) -> None:
    viewer.open_study(study.uid, n_series=len({one.SeriesInstanceUID for one in study.objects}))


def test_full_objects_beside_them_do_no_harm(study: Returned, viewer: Viewer) -> None:
    """OHIF draws no SEG on a cine, and nothing of a report without outlines: it stays usable."""
    open_again(study, viewer)
    viewer.show("SEG", "Cardiac CAD ED segmentation")
    eventually(lambda: viewer.labelmaps("Cardiac CAD ED segmentation"))
    viewer.show("SR", PAGES["cine"])
    eventually(lambda: viewer.page.locator(".cornerstone-canvas").count() == 0)
    assert_usable(study, viewer)


def test_no_script_failed(viewer: Viewer) -> None:
    assert viewer.errors == []


def test_the_page_as_an_image_does_no_harm(study: Returned, viewer: Viewer) -> None:
    """OHIF fails to draw a colour image where a volume was before: the next series can be seen."""
    viewer.show("OT", PAGES["cine"])
    eventually(lambda: viewer.errors or bright(viewer))
    assert_usable(study, viewer)


def bright(viewer: Viewer) -> bool:
    """Whether a white page is shown."""
    return bool(np.mean(viewer.picture()[200:700, 400:1100].min(axis=2) > 200) > 0.5)


def assert_usable(study: Returned, viewer: Viewer) -> None:
    images = key_images(study, "ES")
    viewer.show("SR", numbers_of("ES"))
    eventually(lambda: viewer.texts() and viewer.shown().sop_instance_uid in images, timeout_s=60)
