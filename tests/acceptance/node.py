"""A node that runs as it does in a hospital: `dicom-node serve`, a process of its own."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

from config.loader import load_settings
from config.schema import Settings
from dicom_node.peer import PeerAddress
from dicom_node.status import NodeStatus, StackStatus, read_status
from storage.states import StackState
from tests.integration.peers import ENVIRONMENT, dcmtk, free_port, listens, wait_until

AE_TITLE = "CARDIACCAD"
SCANNER = "SCANNER"
Destination = PeerAddress | Mapping[str, object]
_SHOWN_LINES = 60
_DEFAULTS: dict[str, dict[str, object]] = {
    "completion": {"quiet_s": 60.0, "sweep_interval_s": 0.2},
    "log": {"format": "json"},
    "storage": {"folder": "data", "warn_free_mb": 200, "refuse_free_mb": 100},
    "worker": {"device": "cpu", "retry_first_s": 0.2},
}


class RunningNode:
    """A node on a free loopback port, with a folder of its own; may be ended and started again.

    Parameters
    ----------
    folder : Path
        Holds `node.toml`, the log and the data folder; one that exists is taken up again.
    destinations : sequence of PeerAddress or mapping
        Who gets the results; named `archive`, `archive-2` and so on. See `destination` for others.
    **tables : mapping
        More keys of the configuration, by table: ``completion={"quiet_s": 2}``; lists of tables
        (``peers``, ``routes``) as lists of mappings.
    """

    def __init__(
        self, folder: Path, destinations: Sequence[Destination] = (), **tables: object
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.config = folder / "node.toml"
        self.log_path = folder / "node.log"
        self.address = PeerAddress(AE_TITLE, "127.0.0.1", free_port())
        self.config.write_text(_toml(_tables(self.address.port, destinations, tables)))
        self.settings: Settings = load_settings(self.config)
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        """Process id of `serve`, which leads a process group of its own."""
        if self._process is None:
            raise RuntimeError("the node does not run")
        return self._process.pid

    def start(self) -> None:
        """Start `serve`; returns when it listens.

        Raises
        ------
        RuntimeError
            It ended instead.
        """
        self.launch()
        wait_until(lambda: listens(self.address.port) or not self.is_running(), 60)
        if not self.is_running():
            raise RuntimeError(f"the node did not start:\n{self.log_tail()}")

    def launch(self) -> None:
        """Start `serve` and return at once."""
        environment = {
            name: value for name, value in ENVIRONMENT.items() if not name.startswith("DICOM_NODE_")
        }
        with self.log_path.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "dicom_node", "serve", "--config", str(self.config)],
                stdout=log,
                stderr=log,
                env=environment,
                start_new_session=True,
            )

    def is_running(self) -> bool:
        """Whether `serve` was started and has not ended."""
        return self._process is not None and self._process.poll() is None

    def stop(self, timeout_s: float = 60) -> int:
        """End by SIGTERM, as an admin would; returns the exit code (0 when it does not run)."""
        if self._process is None:
            return 0
        if self.is_running():
            self._process.send_signal(signal.SIGTERM)
        try:
            return self._process.wait(timeout_s)
        finally:
            self.kill()

    def kill(self) -> None:
        """End by SIGKILL, worker processes too, as a power cut would."""
        if self._process is None:
            return
        with contextlib.suppress(ProcessLookupError):  # the whole group has ended already
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait(timeout=30)
        self._process = None

    def status(self) -> NodeStatus:
        """What `dicom-node status --json` shows."""
        return read_status(self.settings)

    def wait_for(
        self, condition: Callable[[NodeStatus], object], timeout_s: float = 120
    ) -> NodeStatus:
        """Wait until the status is as wanted, and return it.

        Raises
        ------
        RuntimeError
            The node ended meanwhile.
        TimeoutError
            It did not become so; the message shows the stacks.
        """
        deadline = time.monotonic() + timeout_s
        while True:
            status = self.status()
            if condition(status):
                return status
            if not self.is_running():
                raise RuntimeError(f"the node ended:\n{self.log_tail()}")
            if time.monotonic() > deadline:
                raise TimeoutError(f"not within {timeout_s} s: {brief(status)}")
            time.sleep(0.05)

    def wait_settled(
        self, study_instance_uid: str, generation: int = 1, timeout_s: float = 120
    ) -> StackStatus:
        """Wait until the only routed stack of a study is measured and its results are delivered.

        Parameters
        ----------
        study_instance_uid : str
        generation : int
            The result of at least this generation: 2 after instances that came late.
        timeout_s : float

        Returns
        -------
        StackStatus
            The stack.
        """

        def is_settled(status: NodeStatus) -> bool:
            stacks = routed(status, study_instance_uid)
            return (
                len(stacks) == 1
                and stacks[0].state is StackState.COMPLETED
                and stacks[0].generation >= generation
                and not any(box.pending for box in status.outbox)
            )

        (stack,) = routed(self.wait_for(is_settled, timeout_s), study_instance_uid)
        return stack

    def log(self, event: str = "") -> list[dict[str, object]]:
        """Lines of the log as mappings; all, or those of one event."""
        lines = [_line(text) for text in self.log_path.read_text().splitlines()]
        return [line for line in lines if not event or line.get("event") == event]

    def log_tail(self, lines: int = _SHOWN_LINES) -> str:
        """The end of the log."""
        if not self.log_path.exists():
            return "(no log)"
        return "\n".join(self.log_path.read_text().splitlines()[-lines:])


def destination(peer: PeerAddress, name: str, **keys: object) -> Mapping[str, object]:
    """Table of a destination that is tried again soon; `keys` are more of its keys.

    It gets SEG and SR alone: few objects to count, and quickly made.
    """
    return {
        "profiles": ["full"],
        "name": name,
        "ae_title": peer.ae_title,
        "host": peer.host,
        "port": peer.port,
        "retry_first_s": 0.5,
        "retry_max_s": 2,
        **keys,
    }


def storescu(
    files: Iterable[Path],
    to: PeerAddress,
    *options: str,
    calling: str = SCANNER,
    check: bool = True,
) -> "subprocess.CompletedProcess[str]":
    """Send files with DCMTK over one association, in the order given."""
    called = ("-aet", calling, "-aec", to.ae_title)
    return dcmtk("storescu", "-nh", "-R", *called, *options, to.host, to.port, *files, check=check)


def routed(status: NodeStatus, study_instance_uid: str) -> list[StackStatus]:
    """Stacks of a study that a pipeline took."""
    return [
        stack
        for stack in status.stacks
        if stack.study_instance_uid == study_instance_uid and stack.pipeline is not None
    ]


def brief(status: NodeStatus) -> str:
    """The status in few words, for messages."""
    stacks = "; ".join(
        f"stack {stack.id} {stack.state} ({stack.reason}), {stack.instances} instances,"
        f" generation {stack.generation}"
        for stack in status.stacks
    )
    boxes = "; ".join(
        f"{box.destination}: {box.pending} pending, {box.sent} sent, {box.dropped} dropped"
        f" {box.last_error}"
        for box in status.outbox
    )
    return f"[{stacks}] [{boxes}]"


def _tables(
    port: int, destinations: Sequence[Destination], tables: Mapping[str, object]
) -> dict[str, object]:
    node = {
        "ae_title": AE_TITLE,
        "host": "127.0.0.1",
        "port": port,
        "accept_unknown_peers": "peers" not in tables,
    }
    found: dict[str, object] = {"node": node, **{key: dict(_DEFAULTS[key]) for key in _DEFAULTS}}
    for name, given in tables.items():
        known = found.get(name, {})
        merge = isinstance(given, Mapping) and isinstance(known, Mapping)
        found[name] = {**known, **given} if merge else given  # type: ignore[dict-item]
    found["destinations"] = [
        destination(peer, f"archive-{number}" if number > 1 else "archive")
        if isinstance(peer, PeerAddress)
        else peer
        for number, peer in enumerate(destinations, start=1)
    ]
    return found


def _toml(tables: Mapping[str, object]) -> str:
    """Write tables and lists of tables as inline TOML; JSON of a plain value is TOML, too."""
    return "".join(f"{name} = {_value(table)}\n" for name, table in tables.items())


def _value(value: object) -> str:
    if isinstance(value, Mapping):
        return "{ " + ", ".join(f"{key} = {_value(item)}" for key, item in value.items()) + " }"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(_value(item) for item in value) + "]"
    return json.dumps(value)


def _line(text: str) -> dict[str, object]:
    """One line of the log; what is no JSON (a traceback) stands as the event."""
    try:
        line = json.loads(text)
    except ValueError:
        return {"event": text}
    return line if isinstance(line, dict) else {"event": text}
