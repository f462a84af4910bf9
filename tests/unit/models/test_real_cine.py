"""The two real DICOM cines that no model was ever fitted on: EF and phases against contours."""

import csv
from pathlib import Path

import numpy as np
import pydicom
import pytest

from models.predict import HeartLocaliser, StackSegmenter


def read_cine(folder: Path):
    """Frames [t, z, y, x] by position and trigger time, and the pixel spacing."""
    images = [pydicom.dcmread(path) for path in folder.rglob("*.dcm")]
    cosines = np.array(images[0].ImageOrientationPatient, dtype=float)
    normal = np.cross(cosines[:3], cosines[3:])
    places = [round(float(normal @ np.array(image.ImagePositionPatient)), 1) for image in images]
    columns = []
    for place in sorted(set(places)):
        here = [image for image, at in zip(images, places, strict=True) if at == place]
        here.sort(key=lambda image: float(image.TriggerTime))
        columns.append([image.pixel_array.astype(np.float32) for image in here])
    spacing = tuple(float(value) for value in images[0].PixelSpacing)
    return np.array(columns).swapaxes(0, 1), spacing


@pytest.mark.filterwarnings("ignore:Invalid value for VR")
@pytest.mark.parametrize("patient", ["SCD0000101", "SCD0000201"])
def test_ejection_fraction_and_phases(patient, real_data):
    root = real_data / "sunnybrook"
    with (root / "truth_from_contours.csv").open() as stream:
        truth = next(row for row in csv.DictReader(stream) if row["patient_id"] == patient)
    frames, spacing = read_cine(root / "dicom" / patient)
    phases, slices = frames.shape[:2]
    where = HeartLocaliser()(frames[::5].reshape(-1, *frames.shape[2:]), spacing)
    relevant = where.lv_probability.reshape(-1, slices).mean(axis=0) >= 0.5
    shown = np.flatnonzero(relevant).tolist()
    labels = StackSegmenter()(frames, shown, spacing, where.centre_yx)
    volume = (labels == 1).reshape(phases, -1).sum(axis=1)
    ed, es = int(volume.argmax()), int(volume.argmin())
    ef = 100 * (1 - volume[es] / volume[ed])
    assert ef == pytest.approx(float(truth["ef_percent"]), abs=7)
    for found, key in ((ed, "ed_phase_index_1based"), (es, "es_phase_index_1based")):
        distance = abs(found + 1 - int(truth[key]))
        assert min(distance, phases - distance) <= 2
    assert relevant.sum() >= int(truth["n_endo_ed"])
