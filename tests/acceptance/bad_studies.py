"""Objects and studies that no one should send, of a person whose name must appear nowhere."""

import os
from collections.abc import Callable, Sequence
from itertools import count
from pathlib import Path

from pydicom import Dataset, dcmread
from pydicom.uid import CTImageStorage, MRImageStorage
from pynetdicom.dsutils import split_dataset

from tests.acceptance.studies import TINY, Study, rewritten, small_study
from tests.integration.peers import mr_instance, uids_of
from tests.integration.raw import write_raw

NAME, PATIENT, OTHER_PATIENT = "Vertrouwelijk^Vera", "GEHEIM-4711", "GEHEIM-4712"
SECRETS = ("Vertrouwelijk", "GEHEIM")
_numbers = count(1)


def good_study(folder: Path) -> Study:
    """A study of a person whose name must appear nowhere; UIDs of its own each time."""
    header = {
        "PatientName": NAME, "PatientID": PATIENT, "StudyID": f"{os.getpid()}-{next(_numbers)}",
    }  # fmt: skip
    return small_study(folder, 220, header=header, **TINY)


def mr(**changes: object) -> Dataset:
    return mr_instance(PatientName=NAME, PatientID=PATIENT, **changes)


def assert_no_patient(text: str, secrets: Sequence[str] = SECRETS) -> None:
    assert [secret for secret in secrets if secret in text] == []


Bad = tuple[Path, int, str]


def _truncated(folder: Path) -> Bad:
    return write_raw(folder, mr(), cut=64 * 64), 0xC000, "is cut: 4096 of 8192 bytes"


def _without(keyword: str) -> Callable[[Path], Bad]:
    def make(folder: Path) -> Bad:
        dataset = mr()
        uids = uids_of(dataset)
        delattr(dataset, keyword)
        return write_raw(folder, dataset, uids=uids), 0xC000, "is missing"

    return make


def _hostile(keyword: str, uid: str) -> Callable[[Path], Bad]:
    def make(folder: Path) -> Bad:
        dataset = mr()
        old = str(dataset[keyword].value)
        swap = (old.encode(), uid.encode().ljust(len(old), b"\0"))
        uids = uids_of(dataset)
        if keyword == "SOPInstanceUID":
            uids = uids._replace(sop_instance_uid=uid)
        return write_raw(folder, dataset, uids=uids, replace=swap), 0xC000, "digits and dots"

    return make


def _class_of_another_context(folder: Path) -> Bad:
    path = write_raw(folder, mr(SOPClassUID=CTImageStorage))
    return path, 0x0122, "SOP class is not that of the context"


def _class_not_as_announced(folder: Path) -> Bad:
    dataset = mr(SOPClassUID=CTImageStorage)
    uids = uids_of(dataset)._replace(sop_class_uid=MRImageStorage)
    return write_raw(folder, dataset, uids=uids), 0xA900, "SOP Class UID is not that of the command"


def _noise(folder: Path) -> Bad:
    path = write_raw(folder, mr())
    _, offset = split_dataset(path)
    path.write_bytes(path.read_bytes()[:offset] + b"\xff" * 9000)
    return path, 0xC000, ""


REFUSED: dict[str, Callable[[Path], Bad]] = {
    "truncated": _truncated,
    "no SOP Instance UID": _without("SOPInstanceUID"),
    "no Study Instance UID": _without("StudyInstanceUID"),
    "no Series Instance UID": _without("SeriesInstanceUID"),
    "path as SOP Instance UID": _hostile("SOPInstanceUID", "../../../etc/passwd"),
    "path as Study Instance UID": _hostile("StudyInstanceUID", "../../../../tmp/x"),
    "command as Series Instance UID": _hostile("SeriesInstanceUID", "1.2;rm -rf *"),
    "class of another context": _class_of_another_context,
    "class not as announced": _class_not_as_announced,
    "noise": _noise,
}


def turned_slice(study: Study, folder: Path) -> list[Path]:
    turned = rewritten(
        study.of_slices(3, 4), folder, ImageOrientationPatient=[0.0, 1.0, 0.0, 0.0, 0.0, -1.0]
    )
    return [*study.of_slices(0, 3), *turned, *study.of_slices(4, 8)]


def _two_patients(study: Study, folder: Path) -> list[Path]:
    others = rewritten(study.of_slices(5, 8), folder, PatientID=OTHER_PATIENT)
    return [*study.of_slices(0, 5), *others]


def _missing_phase(study: Study, folder: Path) -> list[Path]:
    """The second of four phases of each slice but one."""
    return [path for number, path in enumerate(study.files) if number % 4 != 1 or number == 1]


def _no_pixels(study: Study, folder: Path) -> list[Path]:
    folder.mkdir()
    for path in study.files:
        dataset = dcmread(path)
        del dataset.PixelData
        dataset.save_as(folder / path.name)
    return sorted(folder.iterdir())


def _cut_pixels(study: Study, folder: Path) -> list[Path]:
    """A well-formed data set with too few bytes of pixels."""
    dataset = dcmread(study.files[9])
    dataset.PixelData = dataset.PixelData[:1000]
    folder.mkdir()
    dataset.save_as(folder / "cut.dcm")
    return [*study.files[:9], folder / "cut.dcm", *study.files[10:]]


REJECTED: dict[str, Callable[[Study, Path], list[Path]]] = {
    "mixed_orientation: its plane is turned by": turned_slice,
    "mixed_patient: its patient differs from the others'": _two_patients,
    "too_much_missing: 22% of the images are missing": _missing_phase,
    "unreadable_pixels: it has no pixel data": _no_pixels,
    "unreadable_pixels: its pixels cannot be decoded": _cut_pixels,
}
