"""`dicom-node serve`: receiver, sweep, workers and delivery around one storage."""

import signal
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime

import structlog
from apscheduler.schedulers.background import BackgroundScheduler

from config.schema import NeededNetwork, Settings
from config.version import SOFTWARE_VERSION
from dicom_node.clock import ClockWatch
from dicom_node.deliver import Deliverer
from dicom_node.inbox import Inbox
from dicom_node.network import accepted_sop_classes
from dicom_node.query import ArchiveCounts
from dicom_node.receive import Receiver
from dicom_node.sweep import Sweeper
from dicom_node.worker import Worker
from models.registry import Card, home, verify
from storage import Storage, open_storage
from storage.states import UNFINISHED_STACK_STATES

log = structlog.get_logger()

_CLOCK_INTERVAL_S = 1.0
_DELIVERY_INTERVAL_S = 1.0
_LEASE_INTERVAL_S = 10.0
_DISK_INTERVAL_S = 60.0
_SIGNAL_INTERVAL_S = 0.1
_RETENTION_INTERVAL_S = 3600.0


def serve(settings: Settings) -> None:
    """Run the node until SIGTERM or SIGINT, then stop without losing anything.

    Raises
    ------
    WeightsError
        A network that an enabled pipeline names is missing, altered or for another task.
    StorageInUse
        Another process serves the data folder.
    CannotListen
        The port is taken or not allowed.
    """
    for network in settings.pipelines.networks:
        verified(network, settings)
    # No lock here: the signal may come while the main thread holds it, or is about to wait for it.
    told: list[int] = []
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda which, _: told.append(which))
    storage = open_storage(settings.storage)
    try:
        node = Node(settings, storage)
        node.start()
        while not told:
            time.sleep(_SIGNAL_INTERVAL_S)
        log.info("stopping")
        node.stop()
    finally:
        storage.close()
    log.info("stopped")


def verified(network: NeededNetwork, settings: Settings) -> Card:
    """Card of a network that a pipeline needs; no torch is loaded for it.

    Raises
    ------
    WeightsError
        It is missing, altered or for another task.
    """
    folder = home(network.name, settings.worker.weights_folder)
    return verify(network.name, folder, network.task)


class Node:
    """A node on an open storage.

    Parameters
    ----------
    settings : Settings
        All of them.
    storage : Storage
        Open for writing.
    """

    def __init__(self, settings: Settings, storage: Storage) -> None:
        self._settings = settings
        self._storage = storage
        accepted = accepted_sop_classes(settings.pipelines)
        self._receiver = Receiver(settings.node, settings.peers, Inbox(storage), accepted)
        self._sweeper = Sweeper(
            storage,
            settings,
            ArchiveCounts(settings.peers, settings.node),
            listening_since=datetime.now(UTC),
        )
        self._workers = [
            Worker(storage, settings, f"worker-{number}")
            for number in range(settings.worker.processes)
        ]
        self._scheduler = BackgroundScheduler(
            timezone=UTC, job_defaults={"coalesce": True, "max_instances": 1}
        )
        self._stopping = threading.Event()
        self._clock = threading.Thread(target=self._watch_clock, name="clock", daemon=True)

    def start(self) -> None:
        """Recover from what a crash left, then listen and work."""
        self._pull_times_back()
        now = datetime.now(UTC)
        self._storage.instances.close_lost_associations(now)
        self._storage.outbox.drop_outdated("a newer version of an image came", now)
        self._storage.jobs.recover(self._settings.worker.max_attempts, now, all_running=True)
        log.info(
            "node starts",
            version=SOFTWARE_VERSION,
            folder=str(self._settings.storage.folder),
            jobs_recovered=self._storage.jobs_lost,
            stacks_unfinished=sum(
                entry.stack.state in UNFINISHED_STACK_STATES
                for entry in self._storage.overview.stacks()
            ),
        )
        self._receiver.start()
        for worker in self._workers:
            worker.start()
        self._every(self._settings.completion.sweep_interval_s, "sweep", self._sweep)
        self._every(_LEASE_INTERVAL_S, "expired leases", self._recover)
        self._every(_RETENTION_INTERVAL_S, "retention", self._delete)
        self._every(_DISK_INTERVAL_S, "disk space", self._watch_disk)
        for destination in self._settings.destinations:
            deliverer = Deliverer(self._storage, destination, self._settings.node)
            self._every(_DELIVERY_INTERVAL_S, f"delivery to {destination.name}", deliverer.deliver)
        self._scheduler.start()
        self._clock.start()

    def stop(self) -> None:
        """Let senders finish, put running jobs back, end."""
        self._receiver.stop()
        self._stopping.set()
        self._clock.join()
        for worker in self._workers:  # before deliveries: an archive may be silent for a minute
            worker.stop()
        self._scheduler.shutdown(wait=True)

    def _every(self, seconds: float, name: str, action: Callable[[], None]) -> None:
        def guarded() -> None:
            try:
                action()
            except Exception:
                log.exception("periodic task failed; goes on", task=name)

        self._scheduler.add_job(
            guarded, "interval", seconds=seconds, name=name, next_run_time=datetime.now(UTC)
        )

    def _watch_clock(self) -> None:
        """Put right what a clock that is set back delays, in a thread that goes by no clock."""
        watch = ClockWatch()
        while not self._stopping.wait(_CLOCK_INTERVAL_S):
            try:
                step_s = watch.set_back_s()
                if step_s:
                    log.warning("the clock was set back", by_s=round(step_s))
                    self._pull_times_back()
                    for task in self._scheduler.get_jobs():  # they would sleep until it caught up
                        task.modify(next_run_time=datetime.now(UTC))
                    watch.accept()
            except Exception:
                log.exception("times not pulled back after a step of the clock; tried again")

    def _pull_times_back(self) -> None:
        count = self._storage.pull_back(datetime.now(UTC))
        if count:
            log.warning("recorded times lay in the future: pulled back to now", times=count)

    def _sweep(self) -> None:
        self._sweeper.sweep(datetime.now(UTC))

    def _recover(self) -> None:
        limit = self._settings.worker.max_attempts
        count = self._storage.jobs.recover(limit, datetime.now(UTC), all_running=False)
        if count:
            log.warning("jobs with an expired lease put back or parked", jobs=count)

    def _delete(self) -> None:
        count = self._storage.retention.delete(datetime.now(UTC))
        if count:
            log.info("retention deleted files", files=count)

    def _watch_disk(self) -> None:
        free, storage = self._storage.folder.free_mb(), self._settings.storage
        if free < storage.refuse_free_mb:
            log.error("disk full: new instances are refused", free_mb=round(free))
        elif free < storage.warn_free_mb:
            log.warning("disk space is low", free_mb=round(free))
