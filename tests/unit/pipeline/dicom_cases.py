"""Small DICOM instances for the tests of headers, grid, routing and assembly."""

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from pydicom import Dataset
from pydicom.dataset import FileMetaDataset
from pydicom.uid import EnhancedMRImageStorage, ExplicitVRLittleEndian, MRImageStorage

from pipeline.headers import FrameHeader, InstanceHeader

STUDY = "1.2.3"
SERIES = "1.2.3.4"
FRAME_OF_REFERENCE = "1.2.3.9"
# Oblique, neither axis along a patient axis.
ROW = np.array([0.8, 0.6, 0.0])
COLUMN = np.array([-0.36, 0.48, 0.8])
NORMAL = np.cross(ROW, COLUMN)
ORIGIN = np.array([-100.0, 20.0, 35.0])
PIXEL_SPACING_MM = (1.5, 1.25)


def frame_header(z_mm: float, time_ms: float | None, **changed: Any) -> FrameHeader:
    position = ORIGIN + z_mm * NORMAL
    values: dict[str, Any] = {
        "position_mm": tuple(float(value) for value in position),
        "orientation": tuple(float(value) for value in (*ROW, *COLUMN)),
        "pixel_spacing_mm": PIXEL_SPACING_MM,
        "trigger_time_ms": time_ms,
        "temporal_position": None,
        "clock_ms": None,
        "frame_number": None,
    }
    return FrameHeader(**(values | changed))


def instance_header(uid: str, *frames: FrameHeader, **changed: Any) -> InstanceHeader:
    values: dict[str, Any] = {
        "sop_instance_uid": uid,
        "sop_class_uid": str(MRImageStorage),
        "series_instance_uid": SERIES,
        "study_instance_uid": STUDY,
        "frame_of_reference_uid": FRAME_OF_REFERENCE,
        "patient_id": "P1",
        "modality": "MR",
        "manufacturer": "Maker",
        "series_description": "",
        "protocol_name": "",
        "image_type": ("ORIGINAL", "PRIMARY", "M"),
        "photometric_interpretation": "MONOCHROME2",
        "acquired_at": "20200101100000",
        "rows": 4,
        "columns": 5,
        "samples_per_pixel": 1,
        "series_number": 1,
        "images_in_acquisition": None,
        "cardiac_images": None,
        "temporal_positions": None,
        "nominal_interval_ms": None,
        "written_by_node": False,
    }
    return InstanceHeader(frames=frames, **(values | changed))


def stack_headers(
    slices: int = 5,
    phases: int = 8,
    *,
    spacing_mm: float = 8.0,
    interval_ms: Iterable[float] | None = None,
    first_ms: float = 10.0,
    **changed: Any,
) -> dict[tuple[int, int], InstanceHeader]:
    """Headers of a classic stack by (phase, slice); slice z has its own interval."""
    intervals = list(interval_ms) if interval_ms is not None else [40.0] * slices
    return {
        (t, z): instance_header(
            f"{SERIES}.{z + 1}.{t + 1}",
            frame_header(z * spacing_mm, first_ms + t * intervals[z]),
            **changed,
        )
        for t in range(phases)
        for z in range(slices)
    }


def with_frame(header: InstanceHeader, **changed: Any) -> InstanceHeader:
    """Copy of a classic header whose image differs."""
    return replace(header, frames=(replace(header.frames[0], **changed),))


def dataset(uid: str = "1.2.3.4.5", z_mm: float = 0.0, time_ms: float | None = 0.0) -> Dataset:
    """Classic MR instance of 4 x 5 pixels with file meta; pixels count up from 100."""
    data = Dataset()
    data.file_meta = FileMetaDataset()
    data.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    data.file_meta.MediaStorageSOPClassUID = MRImageStorage
    data.file_meta.MediaStorageSOPInstanceUID = uid
    data.SOPClassUID = MRImageStorage
    data.SOPInstanceUID = uid
    data.StudyInstanceUID = STUDY
    data.SeriesInstanceUID = SERIES
    data.FrameOfReferenceUID = FRAME_OF_REFERENCE
    data.PatientID = "P1"
    data.PatientName = "Nobody"
    data.Modality = "MR"
    data.ImageType = ["ORIGINAL", "PRIMARY", "M"]
    data.AcquisitionDate, data.AcquisitionTime = "20200101", "100000.5"
    data.ImagePositionPatient = [f"{value:.6f}" for value in ORIGIN + z_mm * NORMAL]
    data.ImageOrientationPatient = [f"{value:.6f}" for value in (*ROW, *COLUMN)]
    data.PixelSpacing = list(PIXEL_SPACING_MM)
    if time_ms is not None:
        data.TriggerTime = time_ms
    set_pixels(data, np.arange(100, 120, dtype=np.uint16).reshape(4, 5))
    return data


def set_pixels(data: Dataset, stored: np.ndarray) -> None:
    """Put unsigned 16 bit pixels [y, x] or [frame, y, x] into a data set."""
    data.Rows, data.Columns = stored.shape[-2:]
    data.SamplesPerPixel = 1
    data.PhotometricInterpretation = "MONOCHROME2"
    data.BitsAllocated, data.BitsStored, data.HighBit = 16, 12, 11
    data.PixelRepresentation = 0
    if stored.ndim == 3:
        data.NumberOfFrames = len(stored)
    data.PixelData = stored.tobytes()


def item(**attributes: Any) -> Dataset:
    """A data set of the given attributes."""
    data = Dataset()
    for keyword, value in attributes.items():
        setattr(data, keyword, value)
    return data


def enhanced_dataset(slices: int, phases: int, stored: np.ndarray) -> Dataset:
    """Enhanced MR instance of pixels [t, z, y, x]; frames by slice, the last one first."""
    data = dataset(f"{SERIES}.100")
    for keyword in ("TriggerTime", "ImagePositionPatient", "ImageOrientationPatient"):
        delattr(data, keyword)
    del data.PixelSpacing
    data.SOPClassUID = data.file_meta.MediaStorageSOPClassUID = EnhancedMRImageStorage
    order = [(t, z) for z in reversed(range(slices)) for t in range(phases)]
    set_pixels(data, np.stack([stored[cell] for cell in order]))
    plane = [f"{value:.6f}" for value in (*ROW, *COLUMN)]
    data.SharedFunctionalGroupsSequence = [
        item(
            PlaneOrientationSequence=[item(ImageOrientationPatient=plane)],
            PixelMeasuresSequence=[item(PixelSpacing=list(PIXEL_SPACING_MM), SliceThickness=8)],
            PixelValueTransformationSequence=[item(RescaleSlope=1, RescaleIntercept=0)],
        )
    ]
    data.PerFrameFunctionalGroupsSequence = [
        item(
            PlanePositionSequence=[
                item(ImagePositionPatient=[f"{v:.6f}" for v in ORIGIN + 8.0 * z * NORMAL])
            ],
            CardiacSynchronizationSequence=[item(NominalCardiacTriggerDelayTime=40.0 * t)],
            FrameContentSequence=[item(TemporalPositionIndex=t + 1)],
        )
        for t, z in order
    ]
    return data


def save(data: Dataset, path: Path) -> Path:
    data.save_as(path, enforce_file_format=True)
    return path
