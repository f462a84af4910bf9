"""Results of every profile on their way: C-STORE to an archive, C-MOVE back, and into readers."""

import html
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from config.schema import PROFILES
from dicom_node.peer import PeerAddress
from dicom_node.send import SendResult, send_files
from pipeline.results import ResultObject, write_results
from pipeline.results.codes import in_report
from pipeline.versions import digest_bytes, digest_file
from tests.integration.conftest import StartReceiver
from tests.integration.peers import MemorySink, Orthanc, dcmtk, free_port
from tests.unit.pipeline.result_cases import CONTEXT, STUDY, VALUES, make_case, saved


@pytest.fixture(scope="module")
def sent(tmp_path_factory: pytest.TempPathFactory) -> dict[Path, ResultObject]:
    """Objects of every profile, as the node has them on disk."""
    folder = tmp_path_factory.mktemp("results")
    return {saved(item, folder): item for item in write_results(make_case(), CONTEXT, PROFILES)}


@pytest.fixture(scope="module")
def mover() -> PeerAddress:
    return PeerAddress("MOVER", "127.0.0.1", free_port())


@pytest.fixture(scope="module")
def archive(mover: PeerAddress, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Orthanc]:
    peer = Orthanc(tmp_path_factory.mktemp("archive"), [mover])
    peer.start()
    yield peer
    peer.stop()


def test_nothing_changes_from_store_to_move(
    sent: dict[Path, ResultObject],
    archive: Orthanc,
    mover: PeerAddress,
    start_receiver: StartReceiver,
    sink: MemorySink,
) -> None:
    answers: list[SendResult] = []
    send_files(archive.address, [*sent], answers.append, calling_ae_title=mover.ae_title)
    assert [answer.text for answer in answers if answer.status != 0] == []
    start_receiver(mover)
    dcmtk(
        "movescu", "-S", "-aet", mover.ae_title, "-aec", archive.ae_title, "-aem", mover.ae_title,
        "-k", "QueryRetrieveLevel=STUDY", "-k", f"StudyInstanceUID={STUDY}",
        archive.address.host, archive.port,
    )  # fmt: skip
    moved = [digest_bytes(one.transfer_syntax_uid, one.data_set) for one in sink.instances]
    assert sorted(moved) == sorted(digest_file(path) for path in sent)


@pytest.mark.parametrize("role", ["sr", "key_sr_ed"])
def test_dsr2html_shows_every_number(sent: dict[Path, ResultObject], role: str) -> None:
    (path,) = [path for path, item in sent.items() if item.role == role]
    page = dcmtk("dsr2html", path)
    assert not [line for line in page.stderr.splitlines() if line.startswith(("E:", "F:"))]
    text = html.unescape(re.sub(r"<[^>]*>", " ", page.stdout))
    for value, unit in VALUES.values():
        assert re.search(rf"\b{re.escape(in_report(value, unit))} {re.escape(unit)}", text), unit
