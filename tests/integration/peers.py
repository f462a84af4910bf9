"""Real DICOM peers on loopback, and files to exchange with them."""

import json
import os
import socket
import subprocess
import threading
import time
import urllib.request
from collections.abc import Callable, Sequence
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import (
    JPEG2000,
    ExplicitVRLittleEndian,
    JPEG2000Lossless,
    MRImageStorage,
)

from dicom_node.encoded import InstanceUids
from dicom_node.peer import PeerAddress
from dicom_node.receive import ReceivedInstance

# Without this each C-STORE of DCMTK and Orthanc waits 40 ms for an acknowledgement.
ENVIRONMENT = {**os.environ, "TCP_NODELAY": "1"}
_numbers = count(1)


def free_port() -> int:
    """A TCP port that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def dcmtk(*command: object, check: bool = True) -> subprocess.CompletedProcess[str]:
    """Run a DCMTK tool to its end."""
    return subprocess.run(
        [str(part) for part in command],
        env=ENVIRONMENT,
        text=True,
        capture_output=True,
        timeout=120,
        check=check,
    )


def storescu(
    node: PeerAddress, *arguments: object, check: bool = True
) -> subprocess.CompletedProcess[str]:
    to = ("-aec", node.ae_title, node.host, node.port)
    return dcmtk("storescu", *to, *arguments, check=check)


def wait_until(condition: Callable[[], object], timeout_s: float = 20) -> None:
    """Wait for something that another thread or process does."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"not within {timeout_s} s")
        time.sleep(0.02)


def listens(port: int) -> bool:
    """Whether somebody accepts connections on a port."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


class Orthanc:
    """An Orthanc on free ports, with a folder of its own; may be stopped and started again.

    Parameters
    ----------
    folder : Path
        Its storage, configuration and log.
    modalities : sequence of PeerAddress
        Peers it knows, by their AE titles.
    options : mapping
        More keys of its configuration.
    """

    ae_title = "ORTHANC"

    def __init__(
        self, folder: Path, modalities: Sequence[PeerAddress] = (), **options: object
    ) -> None:
        self.port, self.http_port = free_port(), free_port()
        self.address = PeerAddress(self.ae_title, "127.0.0.1", self.port)
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None
        folder.mkdir(parents=True, exist_ok=True)
        settings = {
            "Name": self.ae_title,
            "StorageDirectory": str(folder / "storage"),
            "DicomAet": self.ae_title,
            "DicomPort": self.port,
            "HttpPort": self.http_port,
            "RemoteAccessAllowed": False,
            "AuthenticationEnabled": False,
            "Plugins": [],
            "DicomModalities": {
                peer.ae_title: [peer.ae_title, peer.host, peer.port] for peer in modalities
            },
            **options,
        }
        (folder / "orthanc.json").write_text(json.dumps(settings))

    def start(self) -> None:
        with (self._folder / "orthanc.log").open("ab") as log:
            self._process = subprocess.Popen(
                ["/usr/sbin/Orthanc", self._folder / "orthanc.json"],
                env=ENVIRONMENT,
                stdout=log,
                stderr=log,
            )
        wait_until(self._answers, 60)

    def stop(self) -> None:
        if self._process:
            self._process.terminate()
            self._process.wait(timeout=30)
            self._process = None

    def ask(self, path: str, body: object = None) -> Any:
        """GET, or POST when there is a body; returns the decoded JSON."""
        return json.loads(self.download(path, body))

    def download(self, path: str, body: object = None) -> bytes:
        """GET, or POST when there is a body; returns the bytes."""
        data = None if body is None else json.dumps(body).encode()
        with urllib.request.urlopen(f"http://127.0.0.1:{self.http_port}{path}", data, 30) as answer:
            return bytes(answer.read())

    def find(self, level: str, **query: str) -> list[str]:
        """Orthanc's identifiers of what matches a query."""
        return list(self.ask("/tools/find", {"Level": level, "Query": query}))

    def instance_file(self, sop_instance_uid: str) -> bytes:
        """The file that Orthanc keeps of an instance."""
        (identifier,) = self.find("Instance", SOPInstanceUID=sop_instance_uid)
        return self.download(f"/instances/{identifier}/file")

    def _answers(self) -> bool:
        if self._process and self._process.poll() is not None:
            raise RuntimeError((self._folder / "orthanc.log").read_text())
        try:
            self.ask("/system")
        except OSError:
            return False
        return True


class MemorySink:
    """An `InstanceSink` that remembers what it was given.

    Attributes
    ----------
    on_store : callable
        Called with each instance before it is kept; may wait, or raise.
    """

    def __init__(self) -> None:
        self.instances: list[ReceivedInstance] = []
        self.opened: list[tuple[str, str]] = []
        self.closed: list[tuple[int, bool]] = []
        self.on_store: Callable[[ReceivedInstance], object] = lambda _: None
        self._lock = threading.Lock()

    def open_association(self, calling_ae_title: str, address: str) -> int:
        with self._lock:
            self.opened.append((calling_ae_title, address))
            return len(self.opened)

    def close_association(self, association_id: int, released: bool) -> None:
        self.closed.append((association_id, released))

    def store(self, instance: ReceivedInstance) -> bool:
        self.on_store(instance)
        with self._lock:
            is_news = all(instance.data_set != known.data_set for known in self.instances)
            self.instances.append(instance)
        return is_news

    @property
    def uids(self) -> list[str]:
        return [instance.uids.sop_instance_uid for instance in self.instances]


def new_uid() -> str:
    """A UID that no other test uses."""
    return f"1.2.826.0.1.3680043.10.1.{os.getpid()}.{time.time_ns()}.{next(_numbers)}"


def mr_instance(**changes: object) -> Dataset:
    """A small MR image; `changes` are attributes to set, or to remove when None."""
    dataset = Dataset()
    dataset.SOPClassUID = MRImageStorage
    dataset.SOPInstanceUID = new_uid()
    dataset.StudyInstanceUID = new_uid()
    dataset.SeriesInstanceUID = new_uid()
    dataset.PatientName = "Phantom^Synthetic"
    dataset.PatientID = "PHANTOM"
    dataset.StudyID = ""
    dataset.AccessionNumber = ""
    dataset.Modality = "MR"
    dataset.Rows = dataset.Columns = 64
    dataset.SamplesPerPixel = 1
    dataset.PhotometricInterpretation = "MONOCHROME2"
    dataset.BitsAllocated = dataset.BitsStored = 16
    dataset.HighBit = 15
    dataset.PixelRepresentation = 0
    ramp = np.arange(64 * 64, dtype="<u2").reshape(64, 64) % 997
    dataset.PixelData = ramp.tobytes()
    for keyword, value in changes.items():
        if value is None:
            delattr(dataset, keyword)
        else:
            setattr(dataset, keyword, value)
    return dataset


def save(dataset: Dataset, folder: Path, transfer_syntax: str = ExplicitVRLittleEndian) -> Path:
    """Write a data set as a file named by its SOP Instance UID."""
    folder.mkdir(parents=True, exist_ok=True)
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = transfer_syntax
    dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    path = folder / f"{dataset.SOPInstanceUID}.dcm"
    dataset.save_as(path, enforce_file_format=True)
    return path


def mr_files(folder: Path, number: int) -> list[Path]:
    """Write `number` instances of one series."""
    study, series = new_uid(), new_uid()
    return [
        save(mr_instance(StudyInstanceUID=study, SeriesInstanceUID=series), folder)
        for _ in range(number)
    ]


def data_set_bytes(content: bytes) -> bytes:
    """What comes behind the file meta information of a DICOM file; padded to an even length."""
    assert content[128:132] == b"DICM"
    assert content[132:136] == b"\2\0\0\0"
    found = content[144 + int.from_bytes(content[140:144], "little") :]
    return found + bytes(len(found) % 2)


def uids_of(dataset: Dataset) -> InstanceUids:
    return InstanceUids(
        dataset.SOPClassUID,
        dataset.SOPInstanceUID,
        dataset.StudyInstanceUID,
        dataset.SeriesInstanceUID,
    )


def _with_pydicom(transfer_syntax: str, **options: object) -> Callable[[Path, Path], None]:
    def convert(source: Path, target: Path) -> None:
        from pydicom import dcmread

        dataset = dcmread(source)
        dataset.compress(transfer_syntax, generate_instance_uid=False, **options)
        dataset.save_as(target)

    return convert


def _with_dcmtk(*tool: str) -> Callable[[Path, Path], None]:
    def convert(source: Path, target: Path) -> None:
        dcmtk(*tool, source, target)

    return convert


# Each transfer syntax the node accepts: name, how to make it, how storescu proposes it.
ENCODINGS: dict[str, tuple[Callable[[Path, Path], None], str | None]] = {
    "1.2.840.10008.1.2.1": (_with_dcmtk("dcmconv", "+te"), "-xe"),
    "1.2.840.10008.1.2": (_with_dcmtk("dcmconv", "+ti"), "-xi"),
    "1.2.840.10008.1.2.1.99": (_with_dcmtk("dcmconv", "+td"), "-xd"),
    "1.2.840.10008.1.2.4.70": (_with_dcmtk("dcmcjpeg", "+un", "+e1"), "-xs"),
    "1.2.840.10008.1.2.4.57": (_with_dcmtk("dcmcjpeg", "+un", "+el"), None),
    "1.2.840.10008.1.2.4.80": (_with_dcmtk("dcmcjpls", "+un", "+el"), "-xt"),
    "1.2.840.10008.1.2.4.81": (_with_dcmtk("dcmcjpls", "+un", "+en", "+md", "2"), "-xu"),
    "1.2.840.10008.1.2.4.90": (_with_pydicom(JPEG2000Lossless), "-xv"),
    "1.2.840.10008.1.2.4.91": (_with_pydicom(JPEG2000, j2k_cr=[10]), "-xw"),
    "1.2.840.10008.1.2.5": (_with_dcmtk("dcmcrle", "+un"), "-xr"),
}
