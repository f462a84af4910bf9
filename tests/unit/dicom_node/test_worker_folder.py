"""A worker whose scratch folder cannot be used, and what the log says of doubtful results."""

import time
from dataclasses import replace

from structlog.contextvars import merge_contextvars
from structlog.testing import capture_logs

from config.schema import Settings, StorageSettings, WorkerSettings
from dicom_node.worker import Worker, log_doubts
from pipeline.case import QualityFinding, Verdict
from pipeline.stated import completed_findings
from storage import open_storage
from storage.states import StackState
from tests.unit.pipeline.result_cases import make_case
from tests.unit.storage.conftest import SERIES, STUDY, World


def test_a_job_without_scratch_folder_is_parked_with_the_reason(tmp_path):
    settings = Settings(
        storage=StorageSettings(folder=tmp_path / "data", refuse_free_mb=0),
        worker=WorkerSettings(max_attempts=1),
    )
    with open_storage(settings.storage) as storage, capture_logs([merge_contextvars]) as logs:
        world = World(storage, settings.storage)
        world.store("1.1")
        (stack,) = world.propose(("cine", {SERIES}))
        world.enqueue(stack)
        storage.folder.work.rmdir()
        storage.folder.work.touch()
        worker = Worker(storage, settings, "worker")
        worker.start()
        deadline = time.monotonic() + 20
        while world.stack(stack).state is not StackState.PARKED and time.monotonic() < deadline:
            time.sleep(0.05)
        worker.stop()
        shown = world.stack(stack)
    assert shown.state is StackState.PARKED
    assert "NotADirectoryError" in shown.reason
    (told,) = [line for line in logs if line["event"] == "job parked for the admin"]
    assert (told["stack_id"], told["study_instance_uid"]) == (stack.id, STUDY)
    assert told["series_instance_uids"] == [SERIES]


def test_the_log_names_what_is_in_doubt_and_why():
    good = QualityFinding("phases_count", Verdict.OK, "20 cardiac phases")
    bad = QualityFinding("lv_variation", Verdict.REVIEW, "seen twice", concerns=("lv_ef",))
    case = replace(make_case(), quality=(good, bad))
    with capture_logs() as said:
        log_doubts(completed_findings(case, (), pipeline="cine", numeric_backend="test-fp32"))
    (entry,) = said
    assert (entry["check"], entry["verdict"], entry["reason"]) == (
        "lv_variation",
        "review",
        "seen twice",
    )
    assert entry["biomarkers"] == ["lv_ef"]


def test_the_log_names_what_no_check_withheld_once_by_its_reason():
    lost = QualityFinding("rv", Verdict.WITHHELD, "no RV", withholds=("rv_edv",))
    no_rate = dict.fromkeys(("heart_rate", "cardiac_output"), "the images state no heart rate")
    case = replace(make_case(withheld={"rv_edv": "no RV", **no_rate}), quality=(lost,))
    with capture_logs() as said:
        log_doubts(completed_findings(case, (), pipeline="cine", numeric_backend="test-fp32"))
    assert [entry["event"] for entry in said] == ["result in doubt", "not computed"]
    assert said[1]["reason"] == "the images state no heart rate"
    assert sorted(said[1]["biomarkers"]) == ["cardiac_output", "heart_rate"]
