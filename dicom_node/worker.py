"""Workers: each claims a job, has it computed in a process of its own, and commits the outcome."""

import multiprocessing
import shutil
import signal
import threading
import time
from collections.abc import Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures import TimeoutError as StillRunning
from concurrent.futures.process import BrokenProcessPool
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from pathlib import Path

import structlog

from config.errors import PermanentError
from config.schema import DestinationSettings, Settings
from dicom_node.job import (
    Completed,
    Deferred,
    JobRequest,
    Outcome,
    Rejected,
    run_job,
    start_process,
)
from dicom_node.joining import findings_beside
from dicom_node.send import next_delay
from pipeline.analysis import ResultIdentity, StandingResult
from pipeline.case import Verdict
from pipeline.findings import SeriesFindings
from pipeline.results.common import EarlierObject
from pipeline.results.profiles import is_wanted
from storage import Storage
from storage.errors import LeaseLost
from storage.job import Job, Standing
from storage.results import NewResult

log = structlog.get_logger()

_POLL_S = 0.2
_LONGEST_RETRY_S = 600.0


class JobTimeLimit(Exception):  # noqa: N818 - never leaves this file
    """The job outlasted its time limit."""


class NodeStops(Exception):  # noqa: N818 - never leaves this file
    """The node stops while the job runs."""


class Worker:
    """One thread that takes jobs, and the process that computes them.

    Parameters
    ----------
    storage : Storage
        The queue, and where results go.
    settings : Settings
        Worker limits, destinations, and what the pipelines need.
    name : str
        For log and thread.
    """

    def __init__(self, storage: Storage, settings: Settings, name: str) -> None:
        self._storage = storage
        self._settings = settings
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._executor: ProcessPoolExecutor | None = None

    def start(self) -> None:
        """Take jobs, in a thread of its own."""
        self._thread.start()

    def stop(self) -> None:
        """Stop; a job that runs goes back to the queue and costs no attempt."""
        self._stopping.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stopping.wait(_POLL_S):
            try:
                while not self._stopping.is_set() and self._work_once():
                    pass
            except Exception:
                log.exception("worker loop failed; goes on")
        self._end_process()

    def _work_once(self) -> bool:
        """Claim and compute one job; False when none is due."""
        job = self._storage.jobs.claim(self._settings.worker.lease_s, datetime.now(UTC))
        if job is None:
            return False
        with structlog.contextvars.bound_contextvars(
            job_id=job.id,
            stack_id=job.stack_id,
            study_instance_uid=job.study_instance_uid,
            series_instance_uids=list(job.series_instance_uids),
            attempt=job.attempts,
        ):
            log.info("job started", pipeline=job.pipeline, because=job.trigger)
            try:
                self._compute(job)
            except LeaseLost as lost:
                log.warning("outcome not recorded", reason=str(lost))
        return True

    def _compute(self, job: Job) -> None:
        folder = self._storage.folder.work / f"job-{job.id}-{job.lease}"
        try:
            folder.mkdir(parents=True)
            outcome = self._outcome(job, folder)
            self._record(job, outcome)
        except NodeStops:
            self._storage.jobs.release(job, datetime.now(UTC))
            log.info("job put back: the node stops")
        except LeaseLost:
            raise
        except Exception as error:  # noqa: BLE001 - whatever fails in a job counts as an attempt
            self._fail(job, error)
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def _outcome(self, job: Job, folder: Path) -> Outcome:
        """Compute in the process; keep the lease meanwhile.

        Raises
        ------
        JobTimeLimit, BrokenProcessPool
            The process was ended or ended; the next job gets a new one.
        NodeStops
            The node stops; so did the process.
        """
        request = JobRequest(
            pipeline=job.pipeline,
            files={item.sop_instance_uid: item.path for item in job.inputs},
            identity=_identity(job),
            require_coverage=job.early,
            output=folder,
            study=findings_beside(self._storage, job.study_instance_uid, job.stack_id),
            standing=_standing(job),
        )
        try:
            return self._await(job, self._pool().submit(run_job, request))
        except (JobTimeLimit, BrokenProcessPool, NodeStops):
            self._end_process()
            raise

    def _await(self, job: Job, future: Future[Outcome]) -> Outcome:
        worker = self._settings.worker
        started = beat = time.monotonic()  # the wall clock may be set meanwhile
        while True:
            try:
                return future.result(timeout=_POLL_S)
            except StillRunning:
                if future.done():
                    raise  # the job itself raised a TimeoutError
            now = time.monotonic()
            if self._stopping.is_set():
                raise NodeStops
            if now - started > worker.job_time_limit_s:
                raise JobTimeLimit(f"took longer than {worker.job_time_limit_s:g} s")
            if now - beat > worker.lease_s / 3:
                self._storage.jobs.extend(job, worker.lease_s, datetime.now(UTC))
                beat = now

    def _record(self, job: Job, outcome: Outcome) -> None:
        match outcome:
            case Completed():
                self._finish(job, outcome)
            case Rejected():
                self._reject(job, outcome.reason)
            case Deferred():
                self._storage.jobs.defer(job, outcome.reason, datetime.now(UTC))
                log.info("job deferred", reason=outcome.reason)

    def _finish(self, job: Job, completed: Completed) -> None:
        destinations = destinations_for(job.source_ae_titles, self._settings.destinations)
        names = [destination.name for destination in destinations]
        results = [
            NewResult(
                role=item.role,
                sop_instance_uid=item.sop_instance_uid,
                sop_class_uid=item.sop_class_uid,
                series_instance_uid=item.series_instance_uid,
                path=self._storage.folder.persist_result(job, item.role, item.path.read_bytes()),
                destinations=tuple(
                    destination.name
                    for destination in destinations
                    if is_wanted(item.role, destination.profiles)
                ),
            )
            for item in completed.results
        ]
        self._storage.jobs.finish(job, results, names, completed.findings_json, datetime.now(UTC))
        log.info("job completed", objects=len(results), destinations=names)
        log_doubts(SeriesFindings.model_validate_json(completed.findings_json))

    def _reject(self, job: Job, reason: str) -> None:
        self._storage.jobs.reject(job, reason, datetime.now(UTC))
        log.warning("stack rejected", reason=reason)

    def _fail(self, job: Job, error: Exception) -> None:
        """Count the attempt: retry later, or park after the last or when no retry can help."""
        worker = self._settings.worker
        reason = f"{type(error).__name__}: {error}"
        now = datetime.now(UTC)
        if job.attempts >= worker.max_attempts or isinstance(error, PermanentError):
            self._storage.jobs.park(job, reason, now)
            log.error("job parked for the admin", reason=reason, exc_info=error)
            return
        delay = next_delay(job.attempts, worker.retry_first_s, _LONGEST_RETRY_S)
        self._storage.jobs.retry(job, reason, now + timedelta(seconds=delay), now)
        log.warning("job failed, will be tried again", reason=reason, in_s=delay, exc_info=error)

    def _pool(self) -> ProcessPoolExecutor:
        if self._executor is None:
            self._executor = ProcessPoolExecutor(
                max_workers=1,
                mp_context=multiprocessing.get_context("spawn"),
                initializer=start_process,
                initargs=(self._settings,),
            )
            # The process inherits it: who signals the whole group leaves it to the node, which
            # puts the job back. After the executor was made, since making it lifts such a block.
            signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGTERM, signal.SIGINT))
        return self._executor

    def _end_process(self) -> None:
        """End the process at once; the next job gets a new one."""
        if self._executor is None:
            return
        for process in list((self._executor._processes or {}).values()):
            process.kill()
        self._executor.shutdown(wait=True, cancel_futures=True)
        self._executor = None


def _identity(made: Job | Standing) -> ResultIdentity:
    earlier = tuple(EarlierObject(**asdict(one)) for one in made.supersedes)
    return ResultIdentity(made.result_seed, made.generation, made.created_at, earlier)


def _standing(job: Job) -> StandingResult | None:
    if job.standing is None:
        return None
    return StandingResult(_identity(job.standing), job.standing.sop_instance_uids)


def destinations_for(
    source_ae_titles: Sequence[str], destinations: Sequence[DestinationSettings]
) -> tuple[DestinationSettings, ...]:
    """Return the destinations that get the results of a study pushed by these AE titles."""
    return tuple(
        destination
        for destination in destinations
        if not destination.source_ae_titles
        or set(destination.source_ae_titles) & set(source_ae_titles)
    )


def log_doubts(findings: SeriesFindings) -> None:
    """Name in the log what is to be reviewed in a result, or was withheld, and why."""
    for check in findings.quality:
        if check.verdict is not Verdict.OK:
            log.warning(
                "result in doubt",
                check=check.check,
                verdict=str(check.verdict),
                reason=check.reason,
                biomarkers=list(check.biomarkers),
            )
    told = {check.reason for check in findings.quality}
    withheld: dict[str, list[str]] = {}
    for one in findings.biomarkers:
        if one.withheld is not None and one.withheld not in told:
            withheld.setdefault(one.withheld, []).append(one.name)
    for reason, names in withheld.items():
        log.info("not computed", reason=reason, biomarkers=names)
