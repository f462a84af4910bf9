"""The page: what stands on it, that it all has room, and the two objects that hold it."""

import re
from dataclasses import replace
from datetime import timedelta
from functools import cache

import numpy as np
import pydicom
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_hex
from matplotlib.patches import Wedge

from models.synthetic.cine import synthesise_cine
from pipeline.aha import APEX_NOT_SHOWN
from pipeline.case import SEGMENT_LABELS, Biomarker, QualityFinding, Verdict
from pipeline.companion import companion_of
from pipeline.lge_case import LgeCase
from pipeline.results import write_results
from pipeline.results.codes import in_report
from pipeline.results.common import DISCLAIMER, EarlierObject
from pipeline.results.page import FREE_SHARE, write_page
from pipeline.results.page_text import shown, shown_name
from pipeline.results.panels import colour_of, draw_bullseye
from pipeline.results.pen import AMBER, FAINT, RED
from pipeline.results.sheet import A4_IN, draw_sheet
from pipeline.results.source import tolerant_headers
from pipeline.stages.biomarkers import WALL
from pipeline.stages.transmurality import TRANSMURALITY
from tests.unit.pipeline.lge_cases import lge_case
from tests.unit.pipeline.result_cases import (
    CONTEXT,
    VALUES,
    basis_of,
    conformance_errors,
    encoded,
    make_case,
    read,
    with_context,
)
from tests.unit.pipeline.test_lge import cine_findings


def walls(mm=8.0, **other):
    """Wall biomarkers: 8 mm thick, 3 mm thicker at ES, but for those named."""
    for name in WALL:
        value = other.get(name, 3.0 if "thickening" in name else mm)
        unknown = APEX_NOT_SHOWN if name.endswith("_17") else None
        yield Biomarker(name, None if unknown else value, "mm", unknown)


def cine_case(*, withheld=None, header=None, **other):
    """A case with everything on the page, on images of a synthetic heart."""
    case = make_case(header=header, withheld=withheld)
    return replace(case, biomarkers=(*case.biomarkers, *walls(**other)))


def doubtful_case():
    """Everything is doubted at length, and much is withheld for long reasons."""
    long = "the reason goes on for longer than any that the node gives of its own accord, " * 3
    withheld = {name: f"{long}{name[0]}" for name in VALUES if "edv" in name or "mass" in name}
    case = cine_case(withheld=withheld, header={"PatientName": "N" * 60 + "^" + "M" * 60})
    doubts = tuple(QualityFinding(f"check_{n}", Verdict.REVIEW, f"{n}: {long}") for n in range(12))
    return replace(case, quality=(*case.quality, *doubts))


def joined_case() -> LgeCase:
    """Late enhancement with scar in all segments and a long report beside it."""
    case = lge_case()
    found = tuple(
        replace(one, value=5.0 * number, withheld=None)
        if one.name in TRANSMURALITY[:16] and (number := TRANSMURALITY.index(one.name) + 1)
        else one
        for one in case.biomarkers
    )
    return replace(case, biomarkers=found)


CASES = {
    "cine": cine_case,
    "doubtful": doubtful_case,
    "late enhancement": joined_case,
    "late enhancement alone": lge_case,
    "both": lambda: lge_case(companion=companion_of([cine_findings()])),
    "nothing found": lambda: replace(make_case(), phases=None, segmentation=None, relevance=None),
    "no mask": lambda: make_case(labels=np.zeros_like(make_case().segmentation.labels)),
}

# A page that has one line more: it takes the place of an earlier one.
LATER = with_context(
    supersedes=(EarlierObject("pdf", "1.9", "1.9.1", "1.9.2", CONTEXT.created_at),)
)


@cache
def texts_of(name):
    return tuple(texts(CASES[name]()))


def texts(case, context=CONTEXT):
    """Every text on the page, from the top down, and from left to right."""
    with draw_sheet(basis_of(case, context)) as figure:
        canvas = FigureCanvasAgg(figure)
        canvas.draw()
        placed = [
            (item.get_window_extent(), item.get_text())
            for axes in (figure, *figure.axes)
            for item in axes.texts
            if item.get_text()
        ]
        placed += [
            (axes.title.get_window_extent(), axes.title.get_text())
            for axes in figure.axes
            if axes.title.get_text()
        ]
    placed.sort(key=lambda item: (-round(item[0].y1), item[0].x0))
    return [text for _, text in placed]


@pytest.mark.parametrize("name", CASES)
def test_everything_has_room_on_the_page(name):
    with draw_sheet(basis_of(CASES[name](), LATER)) as figure:
        FigureCanvasAgg(figure).draw()
        width, height = figure.bbox.width, figure.bbox.height
        for text in (item for part in (figure, *figure.axes) for item in part.texts):
            box = text.get_window_extent()
            assert 0.02 * width < box.x0, text.get_text()
            assert box.x1 < 0.97 * width, text.get_text()
            assert box.y0 > 0, text.get_text()
            assert box.y1 < height, text.get_text()
        for axes in figure.axes:
            box = axes.get_window_extent()
            assert 0.01 * height < box.y0 < box.y1 < height


@pytest.mark.parametrize("name", CASES)
def test_lines_do_not_overprint(name):
    """Rows of text of one column stand clear of each other, and of the pictures."""
    with draw_sheet(basis_of(CASES[name](), LATER)) as figure:
        FigureCanvasAgg(figure).draw()
        boxes = [(item.get_window_extent(), item.get_text()) for item in figure.texts]
        pictures = [axes.get_window_extent() for axes in figure.axes]
        for n, (box, text) in enumerate(boxes):
            for other, other_text in boxes[n + 1 :]:
                apart = box.x1 < other.x0 or other.x1 < box.x0
                apart = apart or min(box.y1, other.y1) - max(box.y0, other.y0) < 0.1 * box.height
                assert apart, (text, other_text)
            for picture in pictures:
                inside = picture.x0 < box.x1 and box.x0 < picture.x1
                assert not (inside and picture.y0 < box.y0 + 2 and box.y1 - 2 < picture.y1), text


@pytest.mark.parametrize("name", CASES)
def test_the_first_text_is_what_the_page_is(name):
    assert texts_of(name)[0] == DISCLAIMER


def test_a_page_that_replaces_another_says_so_above_the_patient():
    earlier = EarlierObject("sr", "1.8", "1.8.1", "1.8.2", CONTEXT.created_at - timedelta(hours=3))
    for supersedes, words in (
        ((), None),
        ((replace(earlier, created_at=None),), "Replaces an earlier result."),
        ((earlier,), "Replaces the result of 2031-07-04 21:30:15 CEST."),
        (
            (earlier, *LATER.supersedes),
            "Replaces the result of 2031-07-05 00:30:15 CEST and what came before it.",
        ),
    ):
        said = texts(cine_case(), with_context(supersedes=supersedes))
        replaced = [text for text in said if text.startswith("Replaces")]
        assert replaced == ([words] if words else [])
        assert not words or said.index(words) < said.index("Doe, Jane")


def test_a_page_with_two_masses_of_one_ventricle_says_why_they_differ():
    both = " ".join(texts_of("both"))
    assert "LV mass is stated twice: of the cine at end diastole" in both
    for alone in ("cine", "late enhancement alone"):
        assert not any("stated twice" in text for text in texts_of(alone))


def test_numbers_stand_beside_their_ranges_with_the_digits_of_the_report():
    said = texts_of("cine")
    for name, (value, unit) in VALUES.items():
        if name not in ("bsa", "heart_rate"):
            assert f"{in_report(value, unit)} {unit.replace('m2', 'm²')}" in said, name
    row = said[said.index("151.2 ml") :]
    assert row[1:3] == ("80 to 175", "normal")
    assert "1.87 m²" in said
    assert "61.0 /min" in said
    assert any("Petersen 2017" in text for text in said)


def test_a_joined_page_names_the_networks_of_both():
    case = joined_case()
    assert "of the cine" not in " ".join(texts(case))
    beside = companion_of([cine_findings()])
    model = beside.models[0]
    said = " ".join(texts(replace(case, companion=beside)))
    assert f"of the cine {model.name} {model.version}" in said


def test_who_it_is_and_when_stands_in_the_head():
    said = texts_of("cine")
    for text in ("Doe, Jane", "ID-1", "1970-01-02", "female", "59 years", "1.70 m, 74.0 kg",
                 "Date of study: 2030-01-01", "Test Hospital", "A-1"):  # fmt: skip
        assert text in said


def test_what_is_out_of_range_is_red_and_pointed_at():
    case = cine_case()
    changed = {"lv_edv": 200.0, "lv_ef": 30.0}
    biomarkers = tuple(
        replace(one, value=changed.get(one.name, one.value)) for one in case.biomarkers
    )
    with draw_sheet(basis_of(replace(case, biomarkers=biomarkers))) as figure:
        colours = {text.get_text(): text.get_color() for text in figure.texts}
    assert colours["200.0 ml"] == colours["30.0 %"] == RED
    assert colours["▲ high"] == colours["▼ low"] == RED
    assert colours["60.5 ml"] != RED


@pytest.mark.parametrize(
    ("quality", "withheld", "words"),
    [
        ((), None, "Automatic checks found nothing against the numbers"),
        ((Verdict.OK,), None, "Automatic checks found nothing against the numbers"),
        ((Verdict.OK, Verdict.REVIEW), None, "To be reviewed"),
        ((Verdict.REVIEW, Verdict.WITHHELD), None, "To be reviewed, some numbers are withheld"),
        ((), {"lv_ef": "no LV"}, "To be reviewed, some numbers are withheld"),
    ],
)
def test_the_verdict_is_the_worst_of_the_checks(quality, withheld, words):
    findings = tuple(QualityFinding(f"check_{one}", one, "seen") for one in quality)
    assert words in texts(replace(cine_case(withheld=withheld), quality=findings))


def test_what_is_withheld_is_named_with_its_reason():
    said = texts(cine_case(withheld={"rv_edv": "no RV at ED", "bsa": "the images state no height"}))
    assert "Not computed, because no RV at ED: Right Ventricular ED Volume." in said
    assert "Not computed, because the images state no height: BSA." in said
    assert said.count("not computed") == 1
    assert "Basal coverage, to be reviewed: the stack may stop inside the LV." in said
    places = [
        next(place for place, text in enumerate(said) if start in text)
        for start in ("no RV at ED", "Basal coverage", "state no height")
    ]
    assert places == sorted(places)


def test_numbers_to_be_reviewed_are_marked():
    known = QualityFinding("rv_known_error", Verdict.REVIEW, "known", concerns=("rv_esv", "bsa"))
    passed = QualityFinding("lv_known_error", Verdict.OK, "known", concerns=("lv_esv",))
    said = texts(replace(cine_case(), quality=(known, passed)))
    assert "70.5 ml *" in said
    assert "60.5 ml" in said
    assert any("*: a check names this number" in text for text in said)
    without = texts(replace(cine_case(), quality=(passed,)))
    assert not any("*: a check" in text for text in without)


def changed(case, **values):
    found = (replace(one, value=values.get(one.name, one.value)) for one in case.biomarkers)
    return replace(case, biomarkers=tuple(found))


def colours_and_key(case):
    with draw_sheet(basis_of(case)) as figure:
        written = [(text.get_text(), text.get_color()) for text in figure.texts]
    return dict(written), " ".join(text for text, _ in written)


def test_a_number_beyond_a_range_of_other_ages_does_not_read_as_normal():
    case = changed(cine_case(header={"PatientBirthDate": "19900101"}), lv_edv=200.0, lv_ef=30.0)
    colours, said = colours_and_key(case)
    assert colours["△ above"] == colours["▽ below"] == AMBER
    assert colours["not judged"] == FAINT
    assert "(80 to 175)" in colours
    assert not {"normal", "▲ high", "▼ low"} & colours.keys()
    assert "range of people of other ages, by which nothing is judged" in said
    assert "△ ▽: not judged, but beyond" in said
    assert said.count("Not judged: the range is that of healthy women of 45 to 74 years.") == 1


def test_without_a_sex_what_is_beyond_the_ranges_of_both_is_marked():
    case = changed(cine_case(header={"PatientSex": "O"}), lv_edv=250.0, lv_ef=49.0)
    colours, said = colours_and_key(case)
    assert colours["△ above"] == AMBER
    assert "▽ below" not in colours  # of a woman it would be
    assert "( ): range" not in said


def test_marks_that_are_not_there_are_not_explained():
    colours, said = colours_and_key(cine_case())
    assert "▲ ▼" not in said
    assert "△ ▽" not in said
    assert "flag" not in said
    colours, said = colours_and_key(changed(cine_case(), lv_edv=200.0))
    assert "▲ high" in colours
    assert "▲ ▼: outside the normal range." in said


@pytest.mark.parametrize(
    "missing", [("heart_rate", "cardiac_output"), ("lv_peak_ejection_rate", "lv_peak_filling_rate")]
)
def test_what_needs_more_than_the_images_does_not_make_the_whole_red(missing):
    case = cine_case(withheld=dict.fromkeys(missing, "the images state no such thing"))
    said = texts(replace(case, quality=()))
    assert "Automatic checks found nothing against the numbers" in said
    assert any("Not computed, because the images state no such thing" in text for text in said)


def test_the_colours_of_the_contours_are_named():
    codes = {label: code for code, label in SEGMENT_LABELS.items()}
    for name, labels in (
        ("cine", ("LV cavity", "LV myocardium", "RV cavity")),
        ("late enhancement", ("LV cavity", "LV myocardium", "Scar", "No-reflow")),
    ):
        with draw_sheet(basis_of(CASES[name]())) as figure:
            written = [(text.get_text(), text.get_color()) for text in figure.texts]
        for label in labels:
            at = [text for text, _ in written].index(label)
            assert written[at - 1] == ("■", colour_of(codes[label]))


def test_a_page_of_late_enhancement_speaks_of_late_enhancement():
    said = texts_of("late enhancement alone")
    assert not {"BSA (Mosteller)", "Heart rate"} & set(said)
    assert not any("thickness" in text for text in said)
    assert {"BSA (Mosteller)", "Heart rate"} <= set(texts_of("cine"))
    assert any("Wall thickness by the centreline" in text for text in texts_of("cine"))


def test_reasons_beyond_the_room_are_counted():
    assert any(
        re.fullmatch(r"\d+ more lines stand in the structured report\.", text)
        for text in texts_of("doubtful")
    )


def test_ed_and_es_show_their_phase_and_the_wall_is_in_three_bullseyes():
    said = texts_of("cine")
    assert "ED: phase 5 of 5, slice 4 of 6" in said
    assert "ES: phase 2 of 5, slice 4 of 6" in said
    titles = ("Wall thickness at ED (mm)", "Wall thickness at ES (mm)")
    assert all(title in said for title in (*titles, "Thickening (mm; < 2 mm in red)"))
    assert said.count("8.0") == 2 * 16
    assert said.count("3.0") == 16
    assert said.count("not\nassessed") == 3


def test_late_enhancement_shows_scar_and_transmurality():
    said = texts_of("late enhancement")
    assert "Scar transmurality (%)" in said
    assert all(str(5 * n) in said for n in range(1, 17))
    assert "Full width at half maximum" in said
    mass = next(one for one in lge_case().biomarkers if one.name == "scar_mass_network")
    assert f"{mass.value:.1f} g" in said
    assert any("no cine of" in text for text in texts_of("late enhancement alone"))


def bullseye(values, **look):
    from matplotlib.figure import Figure

    axes = Figure().add_subplot()
    draw_bullseye(axes, values, "title", top=10.0, colours="Blues", **look)
    return axes


def test_segments_of_a_bullseye_lie_where_the_heart_has_them():
    """Anterior above, septum left, base outside (Cerqueira and others)."""
    axes = bullseye({n: float(n) for n in range(1, 17)}, digits=0)
    at = {item.get_text(): item.get_position() for item in axes.texts}
    angles = {n: round(np.degrees(np.arctan2(*at[str(n)][::-1]))) % 360 for n in range(1, 17)}
    expected = [90, 150, 210, 270, 330, 30] * 2 + [90, 180, 270, 0]
    assert [angles[n] for n in range(1, 17)] == expected
    radii = [float(np.hypot(*at[str(n)])) for n in (1, 7, 13)]
    assert radii == sorted(radii, reverse=True)
    wedges = [patch for patch in axes.patches if isinstance(patch, Wedge)]
    assert {round(patch.theta2 - patch.theta1) for patch in wedges[:12]} == {60}
    assert {round(patch.theta2 - patch.theta1) for patch in wedges[12:]} == {90}


def test_marked_segments_are_red_and_unknown_ones_grey():
    axes = bullseye({1: 1.0, 2: 5.0}, marked=(1,))
    colours = {item.get_text(): item.get_color() for item in axes.texts}
    assert colours["1.0"] == RED
    assert colours["5.0"] != RED
    assert [to_hex(patch.get_edgecolor()) for patch in axes.patches].count(RED) == 1
    assert [to_hex(patch.get_facecolor()) for patch in axes.patches].count("#eeeeee") == 14 + 1
    said = [item.get_text() for item in bullseye({}, why_none="no septum").texts]
    assert "Not computed: no septum." in said


@pytest.mark.parametrize("name", ["cine", "late enhancement"])
def test_both_objects_conform_to_the_standard(name, tmp_path):
    basis = basis_of(CASES[name]())
    for item in write_page(basis):
        assert conformance_errors(item, tmp_path) == [], item.role


def test_the_image_says_that_identity_is_burned_in_and_leaves_the_top_free():
    item, _ = write_page(basis_of(cine_case()))
    dataset = read(item)
    assert item.role == "page"
    assert dataset.SOPClassUID == pydicom.uid.SecondaryCaptureImageStorage
    assert (dataset.BurnedInAnnotation, dataset.ConversionType) == ("YES", "WSD")
    pixels = dataset.pixel_array
    assert pixels.shape[2] == 3
    assert FREE_SHARE > 0.15
    assert np.all(pixels[: round(0.15 * len(pixels))] == 255)
    assert np.any(pixels[round(0.15 * len(pixels)) : round(FREE_SHARE * len(pixels))] < 200)
    page = pixels[round(FREE_SHARE * len(pixels)) :]
    assert page.shape[0] / page.shape[1] == pytest.approx(A4_IN[1] / A4_IN[0], rel=0.01)
    assert np.count_nonzero(page.min(axis=2) < 128) > 20_000


def test_the_pdf_is_one_a4_page_with_its_fonts():
    _, item = write_page(basis_of(cine_case()))
    dataset = read(item)
    assert item.role == "pdf"
    assert dataset.MIMETypeOfEncapsulatedDocument == "application/pdf"
    content = dataset.EncapsulatedDocument[: dataset.EncapsulatedDocumentLength]
    assert content.startswith(b"%PDF-")
    assert content.rstrip().endswith(b"%%EOF")
    assert len(re.findall(rb"/Type /Page\b", content)) == 1
    (box,) = re.findall(rb"/MediaBox \[ 0 0 ([\d.]+) ([\d.]+) \]", content)
    assert [float(side) for side in box] == pytest.approx([595.4, 841.7], abs=0.5)
    assert b"/FontFile2" in content
    assert dataset.BurnedInAnnotation == "YES"
    cited = {reference.ReferencedSOPInstanceUID for reference in dataset.SourceInstanceSequence}
    stack = cine_case().stack
    assert cited == {cell.sop_instance_uid for t in (4, 1) for cell in stack.sources[t]}


def test_both_lie_in_the_study_with_identities_of_their_own():
    case = cine_case()
    basis = basis_of(case)
    items = (*write_page(basis), *write_results(case, CONTEXT))
    assert {item.dataset.StudyInstanceUID for item in items} == {"1.2.3.4"}
    assert {item.dataset.PatientID for item in items} == {"ID-1"}
    assert len({item.sop_instance_uid for item in items}) == len(items)
    assert len({item.series_instance_uid for item in items}) == len(items)
    assert len({item.dataset.SeriesNumber for item in items}) == len(items)
    later = basis_of(case, with_context(instance_number=2, software_version="0.2.0"))
    again, _ = write_page(later)
    assert again.series_instance_uid == items[0].series_instance_uid
    assert again.sop_instance_uid != items[0].sop_instance_uid
    assert again.dataset.InstanceNumber == 2


def test_equal_input_gives_equal_bytes():
    first, second = ([*map(encoded, write_page(basis_of(cine_case())))] for _ in range(2))
    assert first == second


def test_the_pdf_is_the_same_whether_or_not_there_is_an_image():
    basis = basis_of(cine_case())
    (alone,), (_, beside) = write_page(basis, with_image=False), write_page(basis)
    assert encoded(alone) == encoded(beside)


def test_a_setting_of_the_installation_does_not_change_the_page():
    import matplotlib

    plain = encoded(write_page(basis_of(cine_case()))[1])
    with matplotlib.rc_context({"font.size": 30, "lines.linewidth": 9, "axes.facecolor": "red"}):
        assert encoded(write_page(basis_of(cine_case()))[1]) == plain


NAMES = {
    "Latin-1": ("ISO_IR 100", "Müller^Zoë", "Müller, Zoë"),
    "Greek": ("ISO_IR 126", "Διονυσιος^Νίκος", "Διονυσιος, Νίκος"),
    "Cyrillic": ("ISO_IR 144", "Иванов^Пётр", "Иванов, Пётр"),
    "Japanese": (["", "ISO 2022 IR 87"], "Yamada^Tarou=山田^太郎=やまだ^たろう", "Yamada, Tarou"),
    "kanji alone": ("ISO_IR 192", "=山田^太郎", "as in the viewer"),
    "UTF-8": ("ISO_IR 192", "Nguyễn^Šárka", "Nguyễn, Šárka"),
    "Arabic": ("ISO_IR 127", "قباني^لنزار", "as in the viewer"),
    "dollars": ("ISO_IR 192", "$x^2$^$y$", "$x, 2$ $y$"),
    "none": ("ISO_IR 192", "", "not stated"),
}


@pytest.mark.parametrize(("declared", "name", "on_page"), NAMES.values(), ids=NAMES)
def test_a_name_in_any_script_survives_and_is_never_drawn_as_boxes(declared, name, on_page):
    """A glyph that the font lacks would be a warning, which is an error here."""
    header = {"SpecificCharacterSet": declared, "PatientName": name}
    with tolerant_headers():
        case = cine_case(header=header)
        items = (
            *write_page(basis_of(case)),
            *write_results(case, CONTEXT),
        )
        assert {str(read(item).PatientName) for item in items} == {name}
    assert [item.role for item in items] == ["page", "pdf", "seg_ed", "seg_es", "sr"]
    assert on_page in texts(case)


def test_the_series_that_was_measured_is_named():
    """Of two stacks in a study each has a report, and both are called alike."""
    case = cine_case(header={"SeriesNumber": "12"})
    assert any("Measured in series 12 of the study." in text for text in texts(case))
    assert not any("Measured in series" in text for text in texts_of("cine"))


def test_an_identity_with_a_backslash_is_kept_and_drawn():
    """It parts values where it has no place (PS3.5 6.2), and is sent all the same."""
    with tolerant_headers():
        case = cine_case(header={"PatientID": "WARD\\7", "AccessionNumber": "A\\1"})
        items = write_page(basis_of(case))
        assert {"WARD\\7", "A\\1"} <= set(texts(case))
    assert all(read(item).PatientID == ["WARD", "7"] for item in items)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("Doe^Jane^Q^Dr^", "Doe, Jane Q Dr"),
        ("Doe", "Doe"),
        ("^Jane", "Jane"),
        ("Yamada^Tarou=ヤマダ", "Yamada, Tarou"),
        ("Ivanov^Ivan=Иванов^Иван", "Ivanov, Ivan / Иванов, Иван"),
        ("Doe=Doe", "Doe"),
    ],
)
def test_names_are_those_of_people(name, expected):
    assert shown_name(name) == expected


def test_other_text_is_drawn_or_referred_to():
    assert shown("Ж-12") == "Ж-12"
    assert shown("e\u0301") == "é"
    assert shown("病院") == "as in the viewer"


def test_a_whole_synthetic_study_has_its_page():
    """Images of another size than square, with contours and curve."""
    cine = synthesise_cine(3, phases=5, rows=96, columns=64, pixel_spacing_mm=(1.6, 2.4))
    case = cine_case()
    stack = replace(
        case.stack,
        frames=cine.frames[:, :6],
        pixel_spacing_mm=(1.6, 2.4),
    )
    labels = replace(case.segmentation, labels=np.ascontiguousarray(cine.labels[:, 3:9]))
    with draw_sheet(basis_of(replace(case, stack=stack, segmentation=labels))) as figure:
        ed = figure.axes[1]
        assert ed.get_aspect() == pytest.approx(1.6 / 2.4)
        colours = {to_hex(lines.get_edgecolor()[0]) for lines in ed.collections}
    assert colours == {"#de3c3c", "#46c85a", "#4678eb"}
