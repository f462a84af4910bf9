"""From ECG objects to sheets: units, leads, rates, pictures, and what is refused and why."""

import copy

import numpy as np
import pydicom
import pytest
from pydicom import Dataset
from pydicom.uid import (
    EncapsulatedPDFStorage,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    GeneralECGWaveformStorage,
    JPEGBaseline8Bit,
    MRImageStorage,
)

from config.schema import ECG_PICTURE_ROUTE
from dicom_node.phantom_ecg import write_ecg_study
from models.ecg_leads import LEADS
from models.ecg_sheet import draw_sheet, prepared
from models.synthetic.ecg import synthesise_ecg
from pipeline.ecg_input import ecg_sheet, read_document, read_picture, read_waveform
from pipeline.errors import Rejection
from pipeline.headers import InstanceHeader, read_header
from pipeline.picture_input import assemble_ecg
from pipeline.results.page import set_document
from pipeline.routing import propose
from pipeline.stages.ecg_plausibility import CheckEcgSheet
from tests.unit.pipeline import pdfs

SEED, LABEL = 3, 2


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    folder = tmp_path_factory.mktemp("ecg")
    write_ecg_study(folder, SEED, label=LABEL, pdf=True)
    return [pydicom.dcmread(path) for path in sorted(folder.glob("*.dcm"))]


@pytest.fixture
def waveform(study):
    return copy.deepcopy(study[0])


@pytest.fixture
def capture(study):
    return copy.deepcopy(study[1])


@pytest.fixture
def document(study):
    return copy.deepcopy(study[2])


def expected():
    return synthesise_ecg(SEED, LABEL).leads


def group(dataset):
    return dataset.WaveformSequence[0]


def channels(dataset):
    return group(dataset).ChannelDefinitionSequence


def restore(dataset, stored, kind="SS", bits=16):
    """Put other stored values [samples, channels] in."""
    part = group(dataset)
    part.NumberOfWaveformSamples, part.NumberOfWaveformChannels = stored.shape
    part.WaveformData = np.ascontiguousarray(stored).tobytes()
    part.WaveformSampleInterpretation, part.WaveformBitsAllocated = kind, bits


def stored_of(dataset):
    return dataset.waveform_array(0).astype(np.int16)


def refused(dataset, code, words=None):
    with pytest.raises(Rejection, match=words) as caught:
        ecg_sheet(dataset)
    assert caught.value.code == code
    assert caught.value.sop_instance_uid == dataset.SOPInstanceUID


def test_a_waveform_gives_its_leads_in_millivolts_and_the_sheet_of_training(waveform):
    record = read_waveform(waveform)
    np.testing.assert_allclose(record.leads, expected(), atol=6e-4)
    assert record.leads.dtype == np.float32
    assert record.hz == 500
    sheet = ecg_sheet(waveform).picture
    assert (sheet != draw_sheet(expected(), 500)).mean() < 1e-3


@pytest.mark.parametrize(
    ("unit", "step", "correction", "baseline", "kind"),
    [("mV", 0.001, 1, 0, "SS"), ("uV", 0.5, 2, 0, "SS"), ("V", 1e-6, 1, 2e-4, "SS"),
     ("uV", 1, 1, -32768, "US")],
)  # fmt: skip
def test_sensitivity_correction_baseline_and_units_count(
    unit, step, correction, baseline, kind, waveform
):
    stored = stored_of(waveform).astype(int)
    factor = {"mV": 1, "uV": 1e-3, "V": 1e3}[unit]
    for channel in channels(waveform):
        channel.ChannelSensitivity = step
        channel.ChannelSensitivityCorrectionFactor = correction
        channel.ChannelBaseline = baseline
        channel.ChannelSensitivityUnitsSequence[0].CodeValue = unit
    if kind == "US":
        restore(waveform, (stored + 32768).astype("<u2"), "US")
        baseline = 0
    np.testing.assert_allclose(
        read_waveform(waveform).leads, expected() + baseline * factor, atol=1.1e-3
    )


@pytest.mark.parametrize("scheme", ["MDC", "SCPECG", "words", "label"])
def test_leads_are_known_by_their_codes_in_any_order(scheme, waveform):
    order = list(reversed(range(12)))
    restore(waveform, stored_of(waveform)[:, order])
    group(waveform).ChannelDefinitionSequence = [channels(waveform)[number] for number in order]
    for channel in channels(waveform):
        source = channel.ChannelSourceSequence[0]
        if scheme == "SCPECG":
            source.CodeValue = f"5.6.3-9-{source.CodeValue.removeprefix('2:')}"
            source.CodingSchemeDesignator = "SCPECG"
        if scheme in ("words", "label"):
            source.CodeValue, source.CodingSchemeDesignator = "1", "99LOCAL"
        if scheme == "label":
            source.CodeMeaning = "voltage"
            channel.ChannelLabel = channel.ChannelLabel.lower()
        elif scheme != "words":
            channel.ChannelLabel = source.CodeMeaning = "V9"
    np.testing.assert_allclose(read_waveform(waveform).leads, expected(), atol=6e-4)


def test_leads_that_follow_from_others_are_computed(waveform):
    kept = [0, 1, *range(6, 12)]
    restore(waveform, stored_of(waveform)[:, kept])
    group(waveform).ChannelDefinitionSequence = [channels(waveform)[number] for number in kept]
    waveform.SOPClassUID = GeneralECGWaveformStorage
    np.testing.assert_allclose(read_waveform(waveform).leads, expected(), atol=2e-3)


@pytest.mark.parametrize("gone", ["I", "V1", "V6"])
def test_a_missing_lead_is_named(gone, waveform):
    kept = [number for number in range(12) if LEADS[number] != gone]
    restore(waveform, stored_of(waveform)[:, kept])
    group(waveform).ChannelDefinitionSequence = [channels(waveform)[number] for number in kept]
    refused(waveform, "missing_leads", gone)


def test_an_electrode_that_is_off_is_named(waveform):
    stored = stored_of(waveform)
    stored[:, 8] = 7
    restore(waveform, stored)
    refused(waveform, "missing_leads", "V3")


@pytest.mark.parametrize("unit", ["Pa", "", "mm[Hg]"])
def test_what_is_no_voltage_is_refused(unit, waveform):
    channels(waveform)[3].ChannelSensitivityUnitsSequence[0].CodeValue = unit
    refused(waveform, "bad_units", "aVR")


def test_a_sensitivity_that_is_not_stated_is_refused(waveform):
    del channels(waveform)[0].ChannelSensitivity
    refused(waveform, "bad_units", "lead I")


@pytest.mark.parametrize(("unit", "said"), [("V", "which no heart"), ("nV", "which no heart")])
def test_a_wrong_unit_shows_in_the_voltage(unit, said, waveform):
    for channel in channels(waveform):
        channel.ChannelSensitivityUnitsSequence[0].CodeValue = unit
    refused(waveform, "implausible_amplitude", said)


@pytest.mark.parametrize("rate", [1.0, 50_000.0])
def test_a_rate_of_no_ecg_is_refused(rate, waveform):
    group(waveform).SamplingFrequency = rate
    refused(waveform, "bad_rate")


def test_a_record_must_last_ten_seconds_and_more_is_cut(waveform):
    stored = stored_of(waveform)
    restore(waveform, stored[:4900])
    refused(waveform, "too_short", "9.8 of 10 seconds")
    restore(waveform, stored[:4990])
    assert read_waveform(waveform).leads.shape == (12, 4990)
    restore(waveform, np.concatenate([stored, stored]))
    assert read_waveform(waveform).leads.shape == (12, 5000)


def test_padding_is_no_sample(waveform):
    stored = stored_of(waveform)
    stored[3000, 4] = -32768
    restore(waveform, stored)
    group(waveform).WaveformPaddingValue = np.array([-32768], "<i2").tobytes()
    refused(waveform, "missing_samples")


def test_the_group_that_is_a_record_is_taken(waveform):
    short = copy.deepcopy(group(waveform))
    short.NumberOfWaveformSamples = 600
    waveform.WaveformSequence = [short, group(waveform)]
    np.testing.assert_allclose(read_waveform(waveform).leads, expected(), atol=6e-4)
    waveform.WaveformSequence = [short, short]
    refused(waveform, "too_short", "1.2 of")


@pytest.mark.parametrize(
    "breakage",
    [
        lambda part: delattr(part, "WaveformData"),
        lambda part: delattr(part, "SamplingFrequency"),
        lambda part: setattr(part, "WaveformData", part.WaveformData[:-2000]),
        lambda part: setattr(part, "WaveformBitsAllocated", 12),
        lambda part: delattr(part, "ChannelDefinitionSequence"),
        lambda part: setattr(part, "WaveformSampleInterpretation", "MB"),
    ],
)
def test_a_broken_waveform_is_refused_as_such(breakage, waveform):
    breakage(group(waveform))
    refused(waveform, "unreadable_waveform")


def test_an_object_without_waveform_is_refused(waveform):
    del waveform.WaveformSequence
    refused(waveform, "unreadable_waveform", "no waveform")


def test_big_endian_samples_are_read(waveform, tmp_path):
    swapped = stored_of(waveform).astype(">i2")
    group(waveform).WaveformData = swapped.tobytes()
    waveform.file_meta.TransferSyntaxUID = ExplicitVRBigEndian
    path = tmp_path / "big.dcm"
    pydicom.dcmwrite(path, waveform, little_endian=False, implicit_vr=False)
    np.testing.assert_allclose(read_waveform(pydicom.dcmread(path)).leads, expected(), atol=6e-4)


def test_a_capture_is_taken_as_it_is(capture):
    np.testing.assert_array_equal(ecg_sheet(capture).picture, capture.pixel_array)


def grey(dataset, values, kind="MONOCHROME2", bits=8):
    dataset.SamplesPerPixel = 1
    dataset.PhotometricInterpretation = kind
    del dataset.PlanarConfiguration
    dataset.Rows, dataset.Columns = values.shape
    dataset.BitsAllocated = 8 * values.itemsize
    dataset.BitsStored, dataset.HighBit = bits, bits - 1
    dataset.PixelData = values.tobytes()
    return dataset


def test_grey_captures_become_colours_dark_on_light(capture):
    ramp = np.tile(np.arange(256, dtype=np.uint8), (256, 1))
    found = read_picture(grey(copy.deepcopy(capture), ramp))
    np.testing.assert_array_equal(found, np.repeat(ramp[..., None], 3, axis=-1))
    inverse = read_picture(grey(copy.deepcopy(capture), ramp, "MONOCHROME1"))
    np.testing.assert_array_equal(inverse, 255 - found)
    deep = (ramp.astype("<u2") * 16).astype("<u2")
    np.testing.assert_array_equal(read_picture(grey(capture, deep, bits=12)), found)


def test_a_capture_with_a_palette_is_looked_up(capture):
    ramp = np.tile(np.arange(256, dtype=np.uint8), (256, 1))
    dataset = grey(capture, ramp, "PALETTE COLOR")
    for number, name in enumerate(("Red", "Green", "Blue")):
        table = np.arange(256, dtype="<u2") * 257 if number == 0 else np.full(256, 65535, "<u2")
        setattr(dataset, f"{name}PaletteColorLookupTableDescriptor", [256, 0, 16])
        setattr(dataset, f"{name}PaletteColorLookupTableData", table.astype("<u2").tobytes())
    found = read_picture(dataset)
    np.testing.assert_array_equal(found[..., 0], ramp)
    assert (found[..., 1:] == 255).all()


def test_captures_of_no_use_are_refused(capture):
    small = grey(copy.deepcopy(capture), np.zeros((226, 400), np.uint8))
    refused(small, "too_small", "400 x 226")
    cut = copy.deepcopy(capture)
    cut.PixelData = cut.PixelData[:-100]
    refused(cut, "unreadable_pixels")
    none = copy.deepcopy(capture)
    del none.PixelData
    refused(none, "unreadable_pixels")
    several = copy.deepcopy(capture)
    several.NumberOfFrames = 2
    several.PixelData = 2 * several.PixelData
    refused(several, "several_pictures")
    other = copy.deepcopy(capture)
    other.file_meta.TransferSyntaxUID = JPEGBaseline8Bit
    refused(other, "unreadable_pixels")


def test_other_objects_are_refused_with_the_reason():
    for kind, code in (
        (EncapsulatedPDFStorage, "pdf_unreadable"),
        (MRImageStorage, "no_ecg_object"),
    ):
        dataset = Dataset()
        dataset.SOPClassUID, dataset.SOPInstanceUID = kind, "1.2.3"
        refused(dataset, code)


def test_a_document_gives_the_network_what_a_waveform_gives_it(document, waveform):
    page, own = (prepared(ecg_sheet(one).picture) for one in (document, waveform))
    # 1.0 is a fifth of what black differs from white.
    assert np.abs(page - own).mean() < 0.05
    assert ecg_sheet(document).chosen == ""


def test_the_header_of_a_document_holds_its_title_and_code(document, tmp_path):
    document.save_as(tmp_path / "document.dcm")
    header = read_header(tmp_path / "document.dcm")
    assert (header.document_title, header.document_code) == ("Synthetic 12-lead ECG", "LN:11524-6")
    assert InstanceHeader.from_json(header.to_json()) == header


def test_of_several_pages_the_one_that_is_a_sheet_is_taken(document):
    (alone,) = (ecg_sheet(document),)
    set_document(document, pdfs.joined([pdfs.letter_pdf(), content(document), pdfs.letter_pdf()]))
    found = read_document(document)
    assert found.chosen == "page 2 of 3, the only one that looks like an ECG sheet, was taken"
    np.testing.assert_array_equal(found.picture, alone.picture)


def content(document):
    return document.EncapsulatedDocument


@pytest.mark.parametrize(
    ("pages", "code", "words"),
    [
        ([pdfs.letter_pdf, pdfs.letter_pdf], "not_an_ecg_sheet", "page 2: it has no millimetre"),
        ([pdfs.ecg_pdf, pdfs.letter_pdf, pdfs.ecg_pdf], "several_sheets", "ECG sheets: 1, 3"),
        ([lambda: pdfs.raw_pdf(box="0 0 842 50")], "too_small", "1485 x 89"),
        ([pdfs.letter_pdf, lambda: pdfs.raw_pdf(box="0 0 842 50")], "not_an_ecg_sheet", "strip"),
        ([pdfs.raw_pdf] * 11, "pdf_unreadable", "11 pages"),
    ],
)
def test_documents_of_no_use_are_refused(pages, code, words, document):
    set_document(document, pdfs.joined([page() for page in pages]))
    refused(document, code, words)


@pytest.mark.parametrize(
    ("held", "code"),
    [
        (b"", "pdf_unreadable"),
        (b"no PDF", "pdf_unreadable"),
        (pdfs.encrypted_pdf(), "pdf_encrypted"),
    ],
)
def test_documents_that_cannot_be_read_are_refused(held, code, document):
    set_document(document, held)
    refused(document, code)


def test_a_page_that_is_no_sheet_is_refused_like_a_capture(document, tmp_path):
    set_document(document, pdfs.letter_pdf())
    document.save_as(tmp_path / "letter.dcm")
    header = read_header(tmp_path / "letter.dcm")
    (proposal,) = propose([header], [ECG_PICTURE_ROUTE.model_copy(update={"modality": ("ECG",)})])
    case = assemble_ecg(proposal, {header.sop_instance_uid: tmp_path / "letter.dcm"})
    assert not case.drawn
    with pytest.raises(Rejection, match="does not look like an ECG sheet"):
        CheckEcgSheet()(case)


def test_the_syntax_of_these_tests_is_that_of_the_phantom(waveform):
    assert waveform.file_meta.TransferSyntaxUID == ExplicitVRLittleEndian
