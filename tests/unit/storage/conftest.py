"""A small world around one storage: a clock, associations, instances, stacks and jobs."""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from config.schema import StorageSettings
from storage import Storage, open_storage
from storage.instances import NewInstance, Stored
from storage.job import Job, JobInput
from storage.results import NewResult
from storage.stacks import Stack, StackProposal

START = datetime(2026, 1, 1, 12, tzinfo=UTC)
STUDY = "1.2.3"
SERIES = "1.2.3.4"


@dataclass
class World:
    """Drives a storage the way the node does."""

    storage: Storage
    settings: StorageSettings
    now: datetime = START
    association: int = 0
    contents: dict[str, bytes] = field(default_factory=dict)

    def later(self, **time: float) -> datetime:
        self.now += timedelta(**time)
        return self.now

    def associate(self) -> int:
        self.association = self.storage.instances.open_association("SCANNER", "10.0.0.1", self.now)
        return self.association

    def store(
        self,
        uid: str,
        version: str = "a",
        *,
        series: str = SERIES,
        study: str = STUDY,
        header_json: str = "{}",
    ) -> Stored:
        content = f"{uid}|{version}|{series}|{study}".encode()
        if not self.association:
            self.associate()
        return self.storage.instances.store(
            NewInstance(
                sop_instance_uid=uid,
                sop_class_uid="1.2.840.10008.5.1.4.1.1.4",
                series_instance_uid=series,
                study_instance_uid=study,
                transfer_syntax_uid="1.2.840.10008.1.2.1",
                digest=hashlib.sha256(content).hexdigest(),
                header_json=header_json,
                association_id=self.association,
                calling_ae_title="SCANNER",
                received_at=self.now,
            ),
            content,
        )

    def propose(self, *groups: tuple[str | None, set[str]], study: str = STUDY) -> list[Stack]:
        """Assess a study: each group is a pipeline and the series of one stack."""
        changed = [
            item
            for item in self.storage.instances.studies_to_assess()
            if item.study_instance_uid == study
        ]
        current = self.storage.instances.current(study)
        proposals = [
            StackProposal(
                pipeline=pipeline,
                series_instance_uids=tuple(sorted(series)),
                source_ae_titles=("SCANNER",),
                digests=tuple(
                    item.digest for item in current if item.series_instance_uid in series
                ),
                reason="proposed",
            )
            for pipeline, series in groups
        ]
        stacks = self.storage.stacks.reconcile(study, proposals, self.now)
        for item in changed:
            self.storage.instances.mark_assessed(item)
        return list(stacks)

    def inputs(self, stack: Stack) -> list[JobInput]:
        return [
            JobInput(item.sop_instance_uid, item.digest, item.path)
            for item in self.storage.instances.current(stack.study_instance_uid)
            if item.series_instance_uid in stack.series_instance_uids and item.path is not None
        ]

    def enqueue(self, stack: Stack, *, early: bool = False) -> Job:
        return self.storage.jobs.enqueue(
            stack.id, self.inputs(stack), trigger="quiet", early=early, now=self.now
        )

    def claim(self, lease_s: float = 60) -> Job:
        job = self.storage.jobs.claim(lease_s, self.now, "worker")
        assert job is not None
        return job

    def result(
        self,
        job: Job,
        uid: str | None = None,
        content: bytes | None = None,
        destinations: tuple[str, ...] | None = None,
    ) -> NewResult:
        uid = uid or f"2.25.{job.id}"
        path = self.storage.folder.persist_result(job, "sr", content or uid.encode())
        return NewResult("sr", uid, "1.2.840.10008.5.1.4.1.1.88.34", "2.25.99", path, destinations)

    def finish(self, job: Job, *destinations: str, beside: Sequence[NewResult] = ()) -> NewResult:
        """End a job with a result, and look at its study as the sweep then does."""
        result = self.result(job)
        self.storage.jobs.finish(job, [result, *beside], destinations, '{"ef": 60}', self.now)
        for changed in self.storage.instances.studies_to_assess():
            if changed.study_instance_uid == job.study_instance_uid:
                self.storage.instances.mark_assessed(changed)
        return result

    def stack(self, stack: Stack) -> Stack:
        return self.storage.stacks.get(stack.id)

    def complete(self, *uids: str, destination: str = "PACS") -> Stack:
        """Take one series all the way to a queued delivery."""
        for uid in uids:
            self.store(uid)
        (stack,) = self.propose(("cine", {SERIES}))
        self.enqueue(stack)
        self.finish(self.claim(), destination)
        return self.stack(stack)

    def deliver(self, destination: str = "PACS") -> int:
        due = self.storage.outbox.due(destination, self.now)
        for delivery in due:
            self.storage.outbox.mark_sent(delivery, "", self.now)
        return len(due)


@pytest.fixture
def settings(tmp_path: Path) -> StorageSettings:
    return StorageSettings(folder=tmp_path / "data", refuse_free_mb=0, warn_free_mb=0)


@pytest.fixture
def world(settings: StorageSettings) -> Iterator[World]:
    with open_storage(settings) as storage:
        yield World(storage, settings)


@pytest.fixture
def reopened(settings: StorageSettings) -> Callable[[World], World]:
    """Close a world's storage and open it again, as after a crash."""

    def reopen(world: World) -> World:
        world.storage.close()
        return World(open_storage(settings), settings, world.now)

    return reopen


@pytest.fixture
def make_world() -> type[World]:
    return World
