"""Write a synthetic 12-lead ECG as a waveform, a sheet and a PDF, with its truth beside them.

All objects and the sheet itself say that they are synthetic; the same seed and class give the
same files, byte for byte.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
from pydicom import Dataset
from pydicom.sr.coding import Code
from pydicom.uid import (
    EncapsulatedPDFStorage,
    SecondaryCaptureImageStorage,
    TwelveLeadECGWaveformStorage,
)

from config.version import SOFTWARE_VERSION
from dicom_node.phantom import save_study
from dicom_node.phantom_ecg_pdf import sheet_pdf
from dicom_node.phantom_instances import (
    START,
    STATEMENT,
    set_attributes,
    synthetic_study,
    with_meta,
)
from dicom_node.phantom_stack import uid_of
from models.ecg_leads import LEADS
from models.ecg_sheet import CLASSES, draw_sheet
from models.synthetic.ecg import SyntheticEcg, synthesise_ecg
from pipeline.results.common import coded
from pipeline.results.page import even, set_document

DESCRIPTION = "Synthetic 12-lead ECG"
_MICROVOLT = Code("uV", "UCUM", "microvolt")
_STUDY = Code("11524-6", "LN", "EKG study")
_LEAD_NUMBERS = (1, 2, 61, 62, 63, 64, 3, 4, 5, 6, 7, 8)  # of the codes of CID 3001


def write_ecg_study(
    folder: Path,
    seed: int,
    *,
    label: int | None = None,
    pdf: bool = False,
    header: Mapping[str, object] | None = None,
) -> Path:
    """Draw the ECG of a seed and write it as a study of two or three series.

    `synthetic-00001.dcm` is a 12-lead ECG Waveform (PS3.3 A.34.3), `synthetic-00002.dcm` its sheet
    as Secondary Capture (PS3.3 A.8.1), `synthetic-00003.dcm` that as Encapsulated PDF (A.45.1).

    Parameters
    ----------
    folder : Path
        Made if absent; a synthetic study that lies there is replaced.
    seed : int
    label : int, optional
        Index in `models.ecg_sheet.CLASSES`; without it the seed decides.
    pdf : bool
        Write the PDF, too.
    header : mapping of keyword to value, optional
        Attributes set in every data set at last; None takes an attribute away.

    Returns
    -------
    Path
        The truth (JSON): `class`, `rhythm`, `wall`, `heart_rate` and the instances.
    """
    drawn = synthesise_ecg(seed, label)
    stored = np.round(drawn.leads * 1000).astype("<i2")
    facts = [SOFTWARE_VERSION, seed, drawn.label, {k: str(v) for k, v in (header or {}).items()}]
    digest = hashlib.sha256(json.dumps(facts, sort_keys=True).encode() + stored.tobytes())
    key = digest.hexdigest()
    instances = []
    document = [_document(seed, key, drawn)] if pdf else []
    for dataset in (_waveform(seed, key, drawn, stored), _sheet(seed, key, drawn), *document):
        set_attributes(dataset, header or {})
        instances.append(with_meta(dataset))
    return save_study(folder, instances, None, _truth(seed, drawn, instances))


def _truth(seed: int, drawn: SyntheticEcg, instances: list[Dataset]) -> dict[str, object]:
    waveform, sheet, *document = instances
    also = {"pdf_sop_instance_uid": document[0].SOPInstanceUID} if document else {}
    return {
        "synthetic": True,
        "software_version": SOFTWARE_VERSION,
        "seed": seed,
        "study_instance_uid": waveform.StudyInstanceUID,
        "class": CLASSES[drawn.label],
        "rhythm": drawn.rhythm,
        "wall": drawn.wall,
        "heart_rate": round(drawn.heart_rate_bpm, 1),
        "waveform_sop_instance_uid": waveform.SOPInstanceUID,
        "sheet_sop_instance_uid": sheet.SOPInstanceUID,
        **also,
    }


def _instance(seed: int, key: str, number: int) -> Dataset:
    """What all say: who, when, and that it is synthetic."""
    dataset = synthetic_study(seed)
    dataset.StudyInstanceUID = uid_of(key, "study")
    dataset.SeriesInstanceUID = uid_of(key, "series", number)
    dataset.SOPInstanceUID = uid_of(key, "instance", number)
    dataset.StudyDescription = dataset.SeriesDescription = DESCRIPTION
    dataset.ManufacturerModelName = "Synthetic ECG"
    dataset.Modality = "ECG"
    dataset.SeriesNumber = number
    dataset.InstanceNumber = 1
    dataset.ContentDate = f"{START:%Y%m%d}"
    dataset.ContentTime = f"{START:%H%M%S}"
    return dataset


def _waveform(
    seed: int,
    key: str,
    drawn: SyntheticEcg,
    stored: np.ndarray[tuple[int, int], np.dtype[np.int16]],
) -> Dataset:
    """12-lead ECG Waveform Storage of microvolts [12, samples]."""
    dataset = _instance(seed, key, 1)
    dataset.SOPClassUID = TwelveLeadECGWaveformStorage
    dataset.AcquisitionDateTime = f"{START:%Y%m%d%H%M%S}"
    dataset.AcquisitionContextSequence = []
    dataset.WaveformAnnotationSequence = [_annotation()]
    group = Dataset()
    group.WaveformOriginality = "ORIGINAL"
    group.NumberOfWaveformChannels, group.NumberOfWaveformSamples = stored.shape
    group.SamplingFrequency = drawn.hz
    group.MultiplexGroupLabel = "RHYTHM"
    group.ChannelDefinitionSequence = list(_channels())
    group.WaveformBitsAllocated = 16
    group.WaveformSampleInterpretation = "SS"
    group.WaveformData = np.ascontiguousarray(stored.T).tobytes()
    dataset.WaveformSequence = [group]
    return dataset


def _annotation() -> Dataset:
    item = Dataset()
    item.UnformattedTextValue = STATEMENT
    item.ReferencedWaveformChannels = [1, 0]
    return item


def _channels() -> Iterator[Dataset]:
    for lead, number in zip(LEADS, _LEAD_NUMBERS, strict=True):
        channel = Dataset()
        channel.ChannelLabel = lead
        channel.ChannelSourceSequence = [coded(Code(f"2:{number}", "MDC", f"Lead {lead}"))]
        channel.ChannelSensitivity = 1
        channel.ChannelSensitivityUnitsSequence = [coded(_MICROVOLT)]
        channel.ChannelSensitivityCorrectionFactor = 1
        channel.ChannelBaseline = 0
        channel.ChannelSampleSkew = 0
        channel.WaveformBitsStored = 16
        yield channel


def _sheet(seed: int, key: str, drawn: SyntheticEcg) -> Dataset:
    """Secondary Capture Image Storage of the sheet."""
    pixels = draw_sheet(drawn.leads, drawn.hz, head=("SYNTHETIC", STATEMENT))
    dataset = _instance(seed, key, 2)
    dataset.SOPClassUID = SecondaryCaptureImageStorage
    dataset.ConversionType = "SYN"
    dataset.ImageType = ["DERIVED", "SECONDARY"]
    dataset.ImageComments = STATEMENT
    dataset.PatientOrientation = ""
    dataset.BurnedInAnnotation = "NO"
    dataset.Rows, dataset.Columns = pixels.shape[:2]
    dataset.SamplesPerPixel = 3
    dataset.PhotometricInterpretation = "RGB"
    dataset.PlanarConfiguration = 0
    dataset.BitsAllocated = dataset.BitsStored = 8
    dataset.HighBit = 7
    dataset.PixelRepresentation = 0
    dataset.PixelData = even(pixels.tobytes())
    return dataset


def _document(seed: int, key: str, drawn: SyntheticEcg) -> Dataset:
    """Encapsulated PDF Storage of the sheet."""
    content = sheet_pdf(drawn.leads, drawn.hz, head=("SYNTHETIC", STATEMENT))
    dataset = _instance(seed, key, 3)
    dataset.SOPClassUID = EncapsulatedPDFStorage
    dataset.ConversionType = "SYN"
    dataset.BurnedInAnnotation = "NO"
    dataset.AcquisitionDateTime = f"{START:%Y%m%d%H%M%S}"
    dataset.DocumentTitle = DESCRIPTION
    dataset.ConceptNameCodeSequence = [coded(_STUDY)]
    set_document(dataset, content)
    return dataset
