"""A study that went through the node, in an archive that a browser looks into."""

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from playwright.sync_api import sync_playwright
from pydicom import Dataset

from config.schema import DEFAULT_PROFILES, PROFILES
from dicom_node.phantom import LABELS_NAME, TRUTH_NAME
from dicom_node.status import NodeStatus
from pipeline.findings import SeriesFindings
from tests.acceptance.joined import both, joined_findings
from tests.acceptance.node import RunningNode, destination, storescu
from tests.acceptance.studies import returned
from tests.integration.peers import Orthanc
from tests.viewers.browser import CHROMIUM, Viewer
from tests.viewers.ohif import OHIF_FOLDER, serve_ohif

DICOMWEB = Path("/usr/share/orthanc/plugins/libOrthancDicomWeb.so")
ADVICE = "`sh tests/install_peers.sh` installs what the tests of viewers need"


SEED = 5
# Oblong pixels: what is drawn must follow them.
CINE_FORM = {"columns": 124, "pixel_spacing_mm": (2.6, 2.0)}
LGE_FORM = {"rows": 176, "columns": 212, "pixel_spacing_mm": (1.8, 1.5)}
FIRST_SLICES = 7  # of late enhancement; the rest comes when their result has gone out


@dataclass(frozen=True)
class Returned:
    """A study of both kinds with its results in the archive.

    Attributes
    ----------
    objects : list of Dataset
        All that the archive has of it.
    cine, lge : SeriesFindings
        What the node found.
    earlier : SeriesFindings
        Of late enhancement, before its last slices came.
    sent : dict of str to int
        Objects that each destination got.
    truth : dict of str to array [y, x]
        True label map of each image.
    """

    uid: str
    objects: list[Dataset]
    cine: SeriesFindings
    lge: SeriesFindings
    earlier: SeriesFindings
    sent: dict[str, int]
    truth: dict[str, npt.NDArray[np.uint8]]

    def of_series(self, description: str) -> list[Dataset]:
        """Objects of one series, by InstanceNumber."""
        found = [one for one in self.objects if one.SeriesDescription == description]
        assert found, f"no series {description}"
        return sorted(found, key=lambda one: int(one.InstanceNumber))

    def of_role(self, found: SeriesFindings, role: str) -> Dataset:
        """The object that plays a role in a result."""
        (uid,) = [one.sop_instance_uid for one in found.objects if one.role == role]
        (item,) = [one for one in self.objects if one.SOPInstanceUID == uid]
        return item


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
    """A synthetic study that grows: in the archive, at the node, its results back in the archive.

    Results of the cine, of some slices of late enhancement, and of all of them: the second and the
    third are joined with the first.
    """
    folder = tmp_path_factory.mktemp("study")
    written = both(folder, SEED, cine_form=CINE_FORM, lge_form=LGE_FORM)
    everything = destination(archive.address, "pacs", profiles=PROFILES)
    as_it_comes = destination(archive.address, "again", profiles=DEFAULT_PROFILES)
    node = RunningNode(
        tmp_path_factory.mktemp("node"), [everything, as_it_comes], completion={"quiet_s": 3}
    )
    uid = written.cine.uid
    earlier: SeriesFindings | None = None

    def found(status: NodeStatus) -> dict[str, SeriesFindings]:
        """What stands in the end: both, joined, and newer than what there was earlier."""
        now = joined_findings(status, uid)
        return now if "lge" in now and now["lge"] != earlier else {}

    storescu((*written.cine.files, *written.lge), archive.address)
    node.start()
    try:
        storescu(written.cine.files, node.address)
        storescu(written.lge[:FIRST_SLICES], node.address)
        earlier = found(node.wait_for(found, timeout_s=300))["lge"]
        storescu(written.lge[FIRST_SLICES:], node.address)
        status = node.wait_for(found, timeout_s=300)
    finally:
        node.kill()
    now = found(status)
    sent = {box.destination: box.sent for box in status.outbox}
    truth = {**true_labels(folder / "cine"), **true_labels(folder / "lge")}
    return Returned(uid, returned(archive, uid), now["cine"], now["lge"], earlier, sent, truth)


def true_labels(folder: Path) -> dict[str, npt.NDArray[np.uint8]]:
    """Label map of each image of a classic synthetic study."""
    facts = json.loads((folder / TRUTH_NAME).read_text())
    with np.load(folder / LABELS_NAME) as content:
        labels = content["labels"]
    labels = labels.reshape(-1, *labels.shape[-3:])  # of late enhancement there is one phase
    return {
        uid: labels[phase, z]
        for z, one in enumerate(facts["slices"])
        for phase, uid in enumerate(one["sop_instance_uids"])
    }


@pytest.fixture(scope="package")
def tab(archive: Orthanc) -> Iterator[Viewer]:
    """OHIF that shows the archive."""
    with serve_ohif(archive.http_port) as url, sync_playwright() as playwright:
        found, browser = Viewer.start(playwright, url)
        yield found
        browser.close()


@pytest.fixture(scope="package")
def viewer(study: Returned, tab: Viewer) -> Viewer:
    """OHIF with the study open; the tests of a file share it."""
    tab.open_study(study.uid, n_series=len({one.SeriesInstanceUID for one in study.objects}))
    return tab
