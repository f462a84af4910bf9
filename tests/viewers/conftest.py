"""A study that went through the node, in an archive that a browser looks into."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from playwright.sync_api import sync_playwright
from pydicom import Dataset

from config.schema import DEFAULT_PROFILES, PROFILES
from pipeline.findings import SeriesFindings
from tests.acceptance.node import RunningNode, destination, storescu
from tests.acceptance.studies import returned, small_study
from tests.integration.peers import Orthanc
from tests.viewers.browser import CHROMIUM, Viewer
from tests.viewers.ohif import OHIF_FOLDER, serve_ohif

DICOMWEB = Path("/usr/share/orthanc/plugins/libOrthancDicomWeb.so")
ADVICE = "`sh tests/install_peers.sh` installs what the tests of viewers need"


@dataclass(frozen=True)
class Returned:
    """A study with its results in the archive; `sent` objects to each destination."""

    uid: str
    objects: list[Dataset]
    findings: SeriesFindings
    sent: dict[str, int]

    def of_series(self, description: str) -> list[Dataset]:
        """Objects of one series, by InstanceNumber."""
        found = [one for one in self.objects if one.SeriesDescription == description]
        assert found, f"no series {description}"
        return sorted(found, key=lambda one: int(one.InstanceNumber))


@pytest.fixture(scope="session", autouse=True)
def parts() -> None:
    """Demand the parts under CI; without them the tests are skipped by name."""
    missing = [str(part) for part in (OHIF_FOLDER, DICOMWEB, CHROMIUM) if not part.exists()]
    if missing:
        message = f"missing: {', '.join(missing)}; {ADVICE}"
        if os.environ.get("CI"):
            pytest.fail(message)
        pytest.skip(message)


@pytest.fixture(scope="package")
def archive(parts: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Orthanc]:
    """An Orthanc that viewers can read from."""
    web = {"Enable": True, "Root": "/dicom-web/"}
    peer = Orthanc(tmp_path_factory.mktemp("pacs"), Plugins=[str(DICOMWEB)], DicomWeb=web)
    peer.start()
    yield peer
    peer.stop()


@pytest.fixture(scope="package")
def study(archive: Orthanc, tmp_path_factory: pytest.TempPathFactory) -> Returned:
    """A synthetic study: in the archive, at the node, and its results back in the archive."""
    written = small_study(tmp_path_factory.mktemp("study"), seed=5)
    everything = destination(archive.address, "pacs", profiles=PROFILES)
    as_it_comes = destination(archive.address, "again", profiles=DEFAULT_PROFILES)
    node = RunningNode(tmp_path_factory.mktemp("node"), [everything, as_it_comes])
    node.start()
    try:
        storescu(written.files, archive.address)
        storescu(written.files, node.address)
        stack = node.wait_settled(written.uid, timeout_s=300)
    finally:
        node.kill()
    assert stack.findings is not None
    sent = {box.destination: box.sent for box in node.status().outbox}
    return Returned(written.uid, returned(archive, written.uid), stack.findings, sent)


@pytest.fixture(scope="package")
def viewer(study: Returned, archive: Orthanc) -> Iterator[Viewer]:
    """OHIF with the study open; the tests of this folder share it."""
    with serve_ohif(archive.http_port) as url, sync_playwright() as playwright:
        found, browser = Viewer.start(playwright, url)
        found.open_study(study.uid, n_series=len({one.SeriesInstanceUID for one in study.objects}))
        yield found
        browser.close()
