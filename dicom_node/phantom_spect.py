"""Write a synthetic perfusion study as NM Image Storage: a stress and a rest series, and the truth.

Every object says that it is synthetic; the same seed and options give the same files, byte for
byte.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import asdict
from datetime import timedelta
from pathlib import Path

import numpy as np
from pydicom import Dataset
from pydicom.tag import Tag
from pydicom.uid import NuclearMedicineImageStorage

from config.version import SOFTWARE_VERSION
from dicom_node.phantom import save_study
from dicom_node.phantom_instances import (
    START,
    STATEMENT,
    one_code,
    one_item,
    set_attributes,
    synthetic_study,
    with_meta,
)
from dicom_node.phantom_stack import uid_of
from models.synthetic.perfusion import VIEWS, Kind
from models.synthetic.spect import SyntheticSpect, synthesise_spect
from models.tomogram import Tomogram

_APART = timedelta(hours=3)
_ACTIVITY_MBQ = {"stress": 300, "rest": 900}
_FRAME_MS, _PROJECTIONS = 20_000, 32


def write_spect_study(
    folder: Path,
    seed: int,
    *,
    kind: Kind | None = None,
    views: tuple[str, ...] = VIEWS,
    header: Mapping[str, object] | None = None,
) -> Path:
    """Draw the patient of a seed and write both tomograms.

    Parameters
    ----------
    folder : Path
        Made if absent; a synthetic study that lies there is replaced.
    seed : int
    kind : {"normal", "ischemia", "infarction"}, optional
        Default: drawn.
    views : tuple of str
        Those of "stress" and "rest" that are written.
    header : mapping of keyword to value
        Attributes set in every data set at last; None takes an attribute away.

    Returns
    -------
    Path
        The truth (JSON): class, defect, true uptake of the 17 segments, and where the left
        ventricle lies in each series, in patient coordinates.
    """
    study = synthesise_spect(seed, kind)
    key = _key(study, views, header or {})
    instances = [_instance(study, key, view, header or {}) for view in views]
    truth = {
        "synthetic": True,
        "software_version": SOFTWARE_VERSION,
        "seed": seed,
        "study_instance_uid": uid_of(key, "study"),
        **study.truth,
        "series": {view: _series_truth(study, key, view) for view in views},
    }
    return save_study(folder, instances, None, truth)


def _key(study: SyntheticSpect, views: tuple[str, ...], header: Mapping[str, object]) -> str:
    digest = hashlib.sha256(f"spect/{SOFTWARE_VERSION}/{study.seed}/{views}/{header}".encode())
    for tomogram in (study.stress, study.rest):
        digest.update(tomogram.counts.tobytes())
    return digest.hexdigest()


def _series_truth(study: SyntheticSpect, key: str, view: str) -> dict[str, object]:
    lv = study.ventricles[view]
    return {
        "series_instance_uid": uid_of(key, "series", view),
        "sop_instance_uid": uid_of(key, "image", view),
        "left_ventricle": {
            name: np.round(value, 4).tolist() if isinstance(value, np.ndarray) else value
            for name, value in asdict(lv).items()
            if name != "likeness"
        },
    }


def _instance(study: SyntheticSpect, key: str, view: str, header: Mapping[str, object]) -> Dataset:
    """One reconstructed tomogram (PS3.3 A.5)."""
    tomogram = study.stress if view == "stress" else study.rest
    number = VIEWS.index(view)
    dataset = synthetic_study(study.seed)
    dataset.SOPClassUID = NuclearMedicineImageStorage
    dataset.SOPInstanceUID = uid_of(key, "image", view)
    dataset.StudyInstanceUID = uid_of(key, "study")
    dataset.SeriesInstanceUID = uid_of(key, "series", view)
    dataset.FrameOfReferenceUID = uid_of(key, "frame of reference", view)
    dataset.PositionReferenceIndicator = ""
    dataset.Modality = "NM"
    dataset.StudyDescription = "Synthetic perfusion SPECT"
    dataset.SeriesDescription = f"Synthetic {view} tomogram"
    dataset.SeriesNumber = number + 1
    dataset.InstanceNumber = 1
    dataset.BodyPartExamined = "HEART"
    dataset.ManufacturerModelName = "Synthetic perfusion heart"
    dataset.ImageComments = STATEMENT
    dataset.ImageType = ["ORIGINAL", "PRIMARY", "RECON TOMO", "EMISSION"]
    dataset.ImageID = f"Recon{view.capitalize()}"
    started = START + number * _APART
    dataset.AcquisitionDate = dataset.ContentDate = f"{started:%Y%m%d}"
    dataset.AcquisitionTime = dataset.ContentTime = f"{started:%H%M%S}"
    _describe_patient(dataset)
    _describe_isotope(dataset, view)
    _describe_frames(dataset, tomogram)
    set_attributes(dataset, header)
    return with_meta(dataset)


def _describe_patient(dataset: Dataset) -> None:
    """NM/PET Patient Orientation (PS3.3 C.8.4.6): supine, head first."""
    modifier = one_code("40199007", "SCT", "supine")
    dataset.PatientOrientationCodeSequence = one_code("102538003", "SCT", "recumbent")
    dataset.PatientOrientationCodeSequence[0].PatientOrientationModifierCodeSequence = modifier
    dataset.PatientGantryRelationshipCodeSequence = one_code("102540008", "SCT", "headfirst")


def _describe_isotope(dataset: Dataset, view: str) -> None:
    """Energy window and tracer (PS3.3 C.8.4.10)."""
    dataset.EnergyWindowInformationSequence = one_item(
        EnergyWindowName="Tc99m",
        EnergyWindowRangeSequence=one_item(
            EnergyWindowLowerLimit="126.45", EnergyWindowUpperLimit="154.55"
        ),
    )
    dataset.RadiopharmaceuticalInformationSequence = one_item(
        RadionuclideCodeSequence=one_code("72454002", "SCT", "^99m^Technetium"),
        Radiopharmaceutical="Tc-99m sestamibi",
        RadionuclideTotalDose=_ACTIVITY_MBQ[view],
    )


def _describe_frames(dataset: Dataset, tomogram: Tomogram) -> None:
    """Pixels, vectors, detector, rotation and reconstruction (PS3.3 C.8.4.7 to C.8.4.15)."""
    x_mm, y_mm, z_mm = tomogram.spacing_mm
    slices, rows, columns = tomogram.counts.shape
    dataset.SamplesPerPixel = 1
    dataset.PhotometricInterpretation = "MONOCHROME2"
    dataset.Rows, dataset.Columns, dataset.NumberOfFrames = rows, columns, slices
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = 16, 16, 15
    dataset.PixelRepresentation = 0
    dataset.PixelSpacing = [y_mm, x_mm]
    dataset.SliceThickness = z_mm
    dataset.SpacingBetweenSlices = -z_mm  # against the normal: from head to foot
    dataset.FrameIncrementPointer = Tag("SliceVector")
    dataset.SliceVector = list(range(1, slices + 1))
    dataset.NumberOfSlices = slices
    dataset.NumberOfEnergyWindows = dataset.NumberOfDetectors = dataset.NumberOfRotations = 1
    highest = int(tomogram.counts.max())
    dataset.WindowCenter, dataset.WindowWidth = highest / 2, highest
    dataset.CountsAccumulated = 0
    dataset.AcquisitionTerminationCondition = "TIME"
    dataset.DetectorInformationSequence = one_item(
        CollimatorType="PARA",
        FocalDistance=0,
        ImagePositionPatient=[round(float(value), 4) for value in tomogram.affine[:3, 3]],
        ImageOrientationPatient=[1, 0, 0, 0, 1, 0],
    )
    dataset.RotationInformationSequence = one_item(
        StartAngle=45,
        ScanArc=180,
        AngularStep=180 / _PROJECTIONS,
        RotationDirection="CW",
        ActualFrameDuration=_FRAME_MS,
        NumberOfFramesInRotation=_PROJECTIONS,
    )
    dataset.TypeOfDetectorMotion = "STEP AND SHOOT"
    dataset.PixelData = tomogram.counts.astype("<u2").tobytes()
