"""Results of every profile on their way: C-STORE to an archive, C-MOVE back, and into readers."""

import html
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

from config.schema import PROFILES
from dicom_node.peer import PeerAddress
from dicom_node.send import SendResult, send_files
from pipeline.case import Biomarker
from pipeline.companion import companion_of
from pipeline.lge_case import LgeCase
from pipeline.results import ResultObject, write_results
from pipeline.results.codes import QUANTITIES, UNITS, in_report
from pipeline.versions import digest_bytes, digest_file
from tests.integration.conftest import StartReceiver
from tests.integration.peers import MemorySink, Orthanc, dcmtk, free_port
from tests.unit.pipeline.lge_cases import lge_case
from tests.unit.pipeline.result_cases import (
    CONTEXT,
    SERIES,
    STUDY,
    case_without_es,
    make_case,
    saved,
    superseding,
    with_context,
)
from tests.unit.pipeline.test_lge import cine_findings

LGE_CONTEXT = with_context(series_seed=f"{SERIES}.1")


@pytest.fixture(scope="module")
def joined() -> LgeCase:
    return lge_case(companion=companion_of([cine_findings()]))


@pytest.fixture(scope="module")
def sent(joined: LgeCase, tmp_path_factory: pytest.TempPathFactory) -> dict[Path, ResultObject]:
    """Objects of every profile of a cine and of late enhancement, as the node has them on disk.

    And of a result that replaces that of the cine, with nothing in place of its end systole.
    """
    first = write_results(make_case(), CONTEXT, PROFILES)
    second = write_results(case_without_es(), superseding(first), PROFILES)
    late = write_results(joined, LGE_CONTEXT, PROFILES)
    assert {"seg_lge", "key_sr_lge", "page", "pdf"} <= {one.role for one in late}
    found = {}
    for name, items in (("first", first), ("second", second), ("late", late)):
        folder = tmp_path_factory.mktemp(name)
        found |= {saved(item, folder): item for item in items}
    return found


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


@pytest.mark.parametrize(
    ("result", "role"),
    [("first", "sr"), ("first", "key_sr_ed"), ("late", "sr"), ("late", "key_sr_lge")],
)
def test_dsr2html_shows_every_number(
    result: str, role: str, sent: dict[Path, ResultObject], joined: LgeCase
) -> None:
    (path,) = [
        path
        for path, item in sent.items()
        if item.role == role and path.parent.name.startswith(result)
    ]
    page = dcmtk("dsr2html", path)
    assert not [line for line in page.stderr.splitlines() if line.startswith(("E:", "F:"))]
    text = html.unescape(re.sub(r"<[^>]*>", " ", page.stdout))
    stated: Iterable[Biomarker] = make_case().biomarkers
    if result == "late":
        stated = (*joined.biomarkers, *(joined.companion.biomarkers if role == "sr" else ()))
        # What is told of a single wall segment stands in the whole report.
        stated = [one for one in stated if role == "sr" or not QUANTITIES[one.name].site]
    for one in stated:
        if one.value is not None:
            number = f"{in_report(one.value, one.unit)} {UNITS[one.unit].value}"
            assert re.search(rf"\b{re.escape(number)}", text), one.name
