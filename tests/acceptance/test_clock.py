"""A clock that is set back an hour while the node runs holds nothing up."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from storage.states import StackState
from tests.acceptance.conftest import StartNode
from tests.acceptance.node import storescu
from tests.acceptance.studies import TINY, returned, small_study
from tests.integration.peers import ENVIRONMENT, Orthanc

# Only the superuser may set the clock of a machine, so the node gets one of its own.
SHIM = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <time.h>

static volatile long *step_s;
static int (*real)(clockid_t, struct timespec *);

__attribute__((constructor)) static void start(void) {
    real = dlsym(RTLD_NEXT, "clock_gettime");
    int file = open(getenv("CLOCK_STEP_FILE"), O_RDONLY);
    step_s = mmap(NULL, sizeof *step_s, PROT_READ, MAP_SHARED, file, 0);
}

int clock_gettime(clockid_t clock, struct timespec *now) {
    int failed = real(clock, now);
    if (clock == CLOCK_REALTIME && step_s) now->tv_sec += *step_s;
    return failed;
}
"""


class Clock:
    """A wall clock for processes that are started while it is in force."""

    def __init__(self, folder: Path) -> None:
        self._file = folder / "step"
        self.set_back(0)
        source, library = folder / "clock.c", folder / "clock.so"
        source.write_text(SHIM)
        subprocess.run(["cc", "-shared", "-fPIC", "-o", library, source, "-ldl"], check=True)
        self._environment = {"LD_PRELOAD": str(library), "CLOCK_STEP_FILE": str(self._file)}

    def set_back(self, seconds: int) -> None:
        """Set it so far behind the clock of the machine."""
        with self._file.open("r+b" if self._file.exists() else "wb") as file:
            file.write((-seconds).to_bytes(8, "little", signed=True))

    @contextmanager
    def in_force(self, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
        with monkeypatch.context() as patch:
            for name, value in self._environment.items():
                patch.setitem(ENVIRONMENT, name, value)
            yield


@pytest.fixture
def clock(tmp_path: Path) -> Clock:
    if shutil.which("cc") is None:
        message = "no C compiler (cc) to make a clock of the node's own"
        if os.environ.get("CI"):
            pytest.fail(message)
        pytest.skip(message)
    return Clock(tmp_path)


def test_quiet_time_and_delivery_go_on(
    clock: Clock,
    late_archive: Orthanc,
    start_node: StartNode,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    study = small_study(tmp_path / "study", 301, **TINY)
    with clock.in_force(monkeypatch):
        node = start_node(
            [late_archive.address],
            completion={"quiet_s": 6, "early_start": False},
            worker={"threads": 1},
        )
    storescu(study.files[:-1], node.address)
    node.wait_for(lambda status: [s.state for s in status.stacks] == [StackState.WAITING])
    clock.set_back(3600)
    node.wait_for(lambda status: [s.state for s in status.stacks] == [StackState.COMPLETED])
    node.wait_for(lambda status: status.outbox[0].last_error)
    clock.set_back(7200)
    late_archive.start()
    node.wait_settled(study.uid)
    assert len(returned(late_archive, study.uid)) == 3
    assert [line["by_s"] for line in node.log("the clock was set back")] == [3600, 3600]

    assert node.stop() == 0
    pulled_back = "recorded times lay in the future: pulled back to now"
    assert len(node.log(pulled_back)) == 2
    clock.set_back(10800)
    with clock.in_force(monkeypatch):
        node.start()
    assert len(node.log(pulled_back)) == 3
