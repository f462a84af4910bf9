"""A child process stores instances and is killed at a random moment: what it answered holds."""

import hashlib
import os
import random
import signal
import subprocess
import sys
import threading
import time
from datetime import UTC, datetime

import pytest

from storage import open_storage
from storage.stacks import StackProposal

CHILD = """
import hashlib, os, sys, threading
from datetime import UTC, datetime
from pathlib import Path
from config.schema import StorageSettings
from storage import open_storage
from storage.instances import NewInstance

folder, seed = Path(sys.argv[1]), sys.argv[2]
storage = open_storage(StorageSettings(folder=folder, refuse_free_mb=0))

def content_of(uid):
    return hashlib.sha256(uid.encode()).digest() * 1000

def work(thread):
    association = storage.instances.open_association("SCANNER", "10.0.0.1", datetime.now(UTC))
    for number in range(100000):
        uid = f"1.{seed}.{thread}.{number}"
        content = content_of(uid)
        storage.instances.store(
            NewInstance(uid, "1.2", "1.2.3.4", "1.2.3", "1.2.840.10008.1.2.1",
                        hashlib.sha256(content).hexdigest(), "{}", association, "SCANNER",
                        datetime.now(UTC)),
            content,
        )
        os.write(1, f"{uid}\\n".encode())

for thread in range(1, 3):
    threading.Thread(target=work, args=(thread,)).start()
"""


def kill_after(settings, seed: int) -> list[str]:
    """Store until killed; returns the UIDs that were answered with success."""
    child = subprocess.Popen(
        [sys.executable, "-c", CHILD, settings.folder, str(seed)], stdout=subprocess.PIPE
    )
    watch = threading.Timer(30, child.kill)  # a child that answers nothing must not stay
    watch.start()
    first = child.stdout.readline()
    watch.cancel()
    time.sleep(random.Random(seed).uniform(0.0, 0.6))
    os.kill(child.pid, signal.SIGKILL)
    rest, _ = child.communicate()
    return [line for line in (first + rest).decode().split("\n")[:-1] if line]


def check(settings, answered: list[str]) -> None:
    with open_storage(settings) as storage:
        current = {item.sop_instance_uid: item for item in storage.instances.current("1.2.3")}
        assert set(answered) <= current.keys()
        for uid, item in current.items():
            assert item.path.read_bytes() == hashlib.sha256(uid.encode()).digest() * 1000
        assert not [path for path in storage.folder.files() if path.suffix == ".tmp"]
        digests = tuple(item.digest for item in current.values())
        proposal = StackProposal("cine", ("1.2.3.4",), ("SCANNER",), digests, "")
        (stack,) = storage.stacks.reconcile("1.2.3", [proposal], datetime.now(UTC))
        assert not storage.instances.carriage(stack.id).still_open


@pytest.mark.parametrize("rounds", [3, pytest.param(40, marks=pytest.mark.campaign)])
def test_what_was_answered_survives_a_kill_byte_for_byte(settings, rounds):
    answered = []
    for seed in range(rounds):
        answered += kill_after(settings, seed)
        check(settings, answered)
    assert len(answered) >= rounds
