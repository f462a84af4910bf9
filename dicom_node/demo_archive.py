"""The archive of the demonstration: Orthanc when it is installed, else the product's own."""

import json
import os
import shutil
import socket
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import Any, Protocol

from pydicom import Dataset, dcmread

from dicom_node.archive import Archive

RESULT_MODALITIES = ("SEG", "SR")


class DemoArchive(Protocol):
    """An archive that results can be read back from."""

    name: str
    port: int

    def results(self, study_instance_uid: str) -> Iterator[Dataset]:
        """Read the SEG and SR instances of a study back from the archive."""


class OrthancArchive:
    """A running Orthanc, spoken to by DICOM for storage and by HTTP to read back."""

    name = "Orthanc"

    def __init__(self, port: int, http_port: int) -> None:
        self.port = port
        self._url = f"http://127.0.0.1:{http_port}"

    def results(self, study_instance_uid: str) -> Iterator[Dataset]:
        """Read the SEG and SR instances of a study back from the archive."""
        for modality in RESULT_MODALITIES:
            query = {"StudyInstanceUID": study_instance_uid, "Modality": modality}
            found = self._ask("/tools/find", {"Level": "Instance", "Query": query})
            for identifier in json.loads(found):
                yield dcmread(BytesIO(self._ask(f"/instances/{identifier}/file")))

    def answers(self) -> bool:
        """Whether Orthanc is up."""
        try:
            self._ask("/system")
        except OSError:
            return False
        return True

    def _ask(self, path: str, body: dict[str, Any] | None = None) -> bytes:
        data = None if body is None else json.dumps(body).encode()
        with urllib.request.urlopen(self._url + path, data, timeout=10) as answer:  # noqa: S310
            return bytes(answer.read())


class FolderArchive:
    """The product's own small archive: what it was sent lies in a folder."""

    name = "the product's own small archive (Orthanc is not installed)"

    def __init__(self, port: int, folder: Path) -> None:
        self.port = port
        self._folder = folder

    def results(self, study_instance_uid: str) -> Iterator[Dataset]:
        """Read the SEG and SR instances of a study back from the archive."""
        for path in sorted(self._folder.rglob("*.dcm")):
            dataset = dcmread(path)
            if (
                dataset.StudyInstanceUID == study_instance_uid
                and dataset.Modality in RESULT_MODALITIES
            ):
                yield dataset


def free_port() -> int:
    """Return a TCP port that is free on loopback now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def demo_archive(folder: Path) -> Iterator[DemoArchive]:
    """Run an archive on loopback for the time of the block.

    Parameters
    ----------
    folder : Path
        Its storage; made here.
    """
    folder.mkdir(parents=True)
    program = shutil.which("Orthanc", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
    if program is not None:
        with _orthanc(program, folder) as orthanc:
            yield orthanc
        return
    port = free_port()
    archive = Archive("ARCHIVE", port, folder)
    archive.start()
    try:
        yield FolderArchive(port, folder)
    finally:
        archive.stop()


@contextmanager
def _orthanc(program: str, folder: Path) -> Iterator[OrthancArchive]:
    port, http_port = free_port(), free_port()
    configuration = folder / "orthanc.json"
    configuration.write_text(
        json.dumps(
            {
                "Name": "ARCHIVE",
                "StorageDirectory": str(folder.resolve() / "storage"),
                "DicomAet": "ARCHIVE",
                "DicomPort": port,
                "HttpPort": http_port,
                "RemoteAccessAllowed": False,
                "AuthenticationEnabled": False,
                "Plugins": [],
            }
        )
    )
    environment = {**os.environ, "TCP_NODELAY": "1"}
    with (folder / "orthanc.log").open("wb") as log:
        process = subprocess.Popen(
            [program, configuration], stdout=log, stderr=log, env=environment
        )
    archive = OrthancArchive(port, http_port)
    try:
        for _ in range(150):
            if archive.answers():
                break
            if process.poll() is not None:
                raise SystemExit(f"Orthanc ended at its start; log: {folder / 'orthanc.log'}")
            time.sleep(0.2)
        else:
            raise SystemExit(f"Orthanc did not start; its log: {folder / 'orthanc.log'}")
        yield archive
    finally:
        process.terminate()
        process.wait(timeout=30)
