"""`make demo`: one study goes in by C-STORE, SEG and SR come back to an archive, on loopback.

The node runs as in a hospital, as a process of its own on its embedded defaults; the archive is
Orthanc when it is installed, else the product's own small one.
"""

import argparse
import json
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from pydicom import Dataset
from rich.console import Console
from rich.table import Table

from config.loader import load_settings
from config.schema import LogSettings, Settings
from dicom_node.demo_archive import DemoArchive, demo_archive, free_port
from dicom_node.demo_picture import draw
from dicom_node.logs import configure_logs
from dicom_node.phantom import write_cine_study
from dicom_node.process import read_inputs
from dicom_node.send import send_paths
from dicom_node.status import StackStatus, read_status
from pipeline.case import Verdict
from pipeline.findings import BiomarkerFinding, SeriesFindings
from pipeline.results.codes import in_report
from pipeline.stages.biomarkers import WALL

SEGMENTATION = "1.2.840.10008.5.1.4.1.1.66.4"
COMPREHENSIVE_3D_SR = "1.2.840.10008.5.1.4.1.1.88.34"
TIME_LIMIT_S = 600.0

CONFIGURATION = """\
[node]
ae_title = "CARDIACCAD"
host = "127.0.0.1"
port = {port}
accept_unknown_peers = true

[storage]
folder = "node"
warn_free_mb = 500
refuse_free_mb = 100

[completion]
quiet_s = 5

[[destinations]]
name = "archive"
ae_title = "ARCHIVE"
host = "127.0.0.1"
port = {archive_port}
retry_first_s = 1
"""

console = Console()


def main() -> int:
    """Run the demonstration; 0 only when SEG and SR came back through the archive."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--study", type=Path, help="folder of a cine study; default: synthetic")
    parser.add_argument("--output", type=Path, default=Path("demo-output"))
    arguments = parser.parse_args()
    configure_logs(LogSettings(level="error"))
    if arguments.study and not arguments.study.exists():
        parser.error(f"{arguments.study} does not exist")
    return run_demo(arguments.study, arguments.output)


def run_demo(study: Path | None, output: Path) -> int:
    """Show one study going round.

    Parameters
    ----------
    study : Path or None
        A folder of DICOM files; None writes the product's own synthetic study.
    output : Path
        Everything the demonstration makes lies here; what an earlier one left is removed.

    Returns
    -------
    int
        Exit code: 0 only when SEG and SR were read back from the archive.
    """
    shutil.rmtree(output, ignore_errors=True)
    output.mkdir(parents=True)
    truth = None
    if study is None:
        study = output / "study"
        truth = read_truth(write_cine_study(study, seed=1))
        console.print(f"Study: synthetic short-axis cine, labelled so, in {study}")
    with demo_archive(output / "archive") as archive, _node(output, archive.port) as settings:
        console.print(f"Archive: {archive.name}. Node: port {settings.node.port}.")
        if not send_paths([study], f"CARDIACCAD@127.0.0.1:{settings.node.port}", "SCANNER"):
            console.print("[red]The node did not take every file; see the lines above.[/red]")
        stack = _follow(settings)
        if stack is None or stack.findings is None:
            console.print("[red]No stack was measured.[/red]")
            return 1
        objects = _fetch(archive, stack, output / "results")
    console.print(result_table(stack.findings, truth))
    _print_doubts(stack.findings)
    if truth is not None:
        console.print(
            "Errors of patients say little of a synthetic heart, which may err otherwise."
        )
    return _report(stack.findings, objects, study, output)


@contextmanager
def _node(output: Path, archive_port: int) -> Iterator[Settings]:
    """Run `dicom-node serve` as a process of its own; end it as an admin would, by SIGTERM."""
    config = output / "node.toml"
    config.write_text(CONFIGURATION.format(port=free_port(), archive_port=archive_port))
    settings = load_settings(config)
    command = [sys.executable, "-m", "dicom_node", "serve", "--config", str(config)]
    with (output / "node.log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
    try:
        _wait_for(lambda: _listens(settings.node.port) or process.poll() is not None, 60)
        if process.poll() is not None:
            raise SystemExit(f"The node did not start; its log: {output / 'node.log'}")
        yield settings
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(timeout=60)


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def _wait_for(condition: Callable[[], bool], limit_s: float) -> bool:
    end = time.monotonic() + limit_s
    while time.monotonic() < end:
        if condition():
            return True
        time.sleep(0.2)
    return False


def _follow(settings: Settings) -> StackStatus | None:
    """Print each change of state until every stack is settled and delivered; the measured one."""
    shown: dict[int, str] = {}
    start = time.monotonic()
    while time.monotonic() < start + TIME_LIMIT_S:
        status = read_status(settings)
        for stack in status.stacks:
            line = f"{stack.pipeline or 'left alone'}: {stack.state}"
            if shown.get(stack.id) != line:
                shown[stack.id] = line
                detail = f" ({stack.reason})" if stack.reason else ""
                console.print(f"{time.monotonic() - start:6.1f} s  {line}{detail}")
        if status.stacks and status.settled:
            return next((stack for stack in status.stacks if stack.findings), None)
        time.sleep(0.3)
    console.print("[red]Time is up; the state above is the last one seen.[/red]")
    return None


def _fetch(archive: DemoArchive, stack: StackStatus, folder: Path) -> list[tuple[Path, Dataset]]:
    """Read the results back from the archive and save them."""
    folder.mkdir()
    found = []
    for dataset in archive.results(stack.study_instance_uid):
        path = folder / f"{dataset.Modality}-{dataset.SOPInstanceUID}.dcm"
        dataset.save_as(path, enforce_file_format=True)
        found.append((path, dataset))
    return found


def read_truth(path: Path) -> Mapping[str, float]:
    """Biomarkers of a synthetic study by their names, from the truth beside it."""
    biomarkers: dict[str, float] = json.loads(path.read_text(encoding="utf-8"))["biomarkers"]
    return biomarkers


def result_table(findings: SeriesFindings, truth: Mapping[str, float] | None) -> Table:
    """Tabulate the biomarkers, with the truth beside them where it is known.

    Parameters
    ----------
    findings : SeriesFindings
        Of a completed stack.
    truth : mapping of name to value, or None
        Of a synthetic study.
    """
    title = "Measured" if truth is None else "Measured in a synthetic study, beside its true values"
    columns = ("biomarker", "value", *(("true (synthetic)",) if truth else ()), "unit", "remark")
    table = Table(*columns, title=title)
    for item in findings.biomarkers:
        if item.name in WALL:  # too many for a table
            continue
        value = "" if item.value is None else in_report(item.value, item.unit)
        true = (_true(item, truth),) if truth else ()
        remark = item.withheld or ("to be reviewed" if item.verdict is Verdict.REVIEW else "")
        table.add_row(item.name, value, *true, item.unit, remark)
    return table


def _true(item: BiomarkerFinding, truth: Mapping[str, float]) -> str:
    return in_report(truth[item.name], item.unit) if item.name in truth else ""


def _print_doubts(findings: SeriesFindings) -> None:
    for check in findings.quality:
        if check.verdict is not Verdict.OK:
            console.print(f"Quality, {check.verdict}: {check.reason}", soft_wrap=True, markup=False)


def _report(
    findings: SeriesFindings, objects: list[tuple[Path, Dataset]], study: Path, output: Path
) -> int:
    """Print files and picture; 0 when both SEG and SR are among the objects."""
    for path, dataset in objects:
        console.print(f"From the archive: {dataset.SeriesDescription}: {path}", soft_wrap=True)
    classes = {dataset.SOPClassUID for _, dataset in objects}
    if not {SEGMENTATION, COMPREHENSIVE_3D_SR} <= classes:
        console.print("[red]SEG or SR did not come back through the archive.[/red]")
        return 1
    masks = [dataset for _, dataset in objects if dataset.SOPClassUID == SEGMENTATION]
    picture = output / "result.png"
    draw(findings, masks, read_inputs([study]).files, picture)
    console.print(f"Picture: {picture}", soft_wrap=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
