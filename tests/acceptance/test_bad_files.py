"""`dicom-node process` on garbage: findings that say what is wrong, and exit codes."""

import json
import os
import subprocess
import sys
from pathlib import Path

from pydicom.uid import Comprehensive3DSRStorage

from tests.acceptance.bad_studies import assert_no_patient, good_study, mr, turned_slice
from tests.integration.peers import ENVIRONMENT, save, uids_of
from tests.integration.raw import write_raw


def process(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "dicom_node", "process", *map(str, arguments)]
    return subprocess.run(
        command, env=ENVIRONMENT, capture_output=True, text=True, timeout=300, check=False
    )


def test_process_says_of_garbage_what_is_wrong(tmp_path: Path) -> None:
    folder = tmp_path / "garbage"
    study = good_study(tmp_path / "study")
    whole = study.files[0].read_bytes()
    turned_slice(study, folder)
    for path in (*study.of_slices(0, 3), *study.of_slices(4, 8)):
        (folder / path.name).write_bytes(path.read_bytes())
    save(mr(SOPClassUID=Comprehensive3DSRStorage, PixelData=None), folder / "below")
    left_out = {
        "empty.dcm": b"",
        "header.dcm": whole[:300],
        "noise.dcm": os.urandom(5000),
        "notes.txt": b"not DICOM",
        "uid.dcm": write_raw(tmp_path, mr(StudyInstanceUID=None), uids=uids_of(mr())).read_bytes(),
    }
    for name, content in left_out.items():
        (folder / name).write_bytes(content)

    run = process(folder, "--output", tmp_path / "out")
    assert run.returncode == 0, run.stderr
    assert_no_patient(run.stdout + run.stderr)
    findings = json.loads((tmp_path / "out" / "findings.json").read_text())
    named = dict(text.split(": ", 1) for text in findings["files_left_out"])
    assert named.keys() == left_out.keys()
    assert all(named.values())
    assert all(name in run.stderr for name in left_out)
    found = {entry["status"]: entry["reason"] for entry in findings["series"]}
    assert len(findings["series"]) == 2
    assert found["rejected"].startswith("mixed_orientation")
    assert found["unrouted"].startswith("left alone")
    assert findings["objects"] == []


def test_process_of_nothing_but_garbage_still_writes_findings(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("not DICOM")
    run = process(tmp_path / "notes.txt", "--output", tmp_path / "out")
    assert run.returncode == 0, run.stderr
    findings = json.loads((tmp_path / "out" / "findings.json").read_text())
    assert findings["series"] == []
    assert len(findings["files_left_out"]) == 1


def test_process_tells_usage_from_fault(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("not DICOM")
    (tmp_path / "bad.toml").write_text("[worker]\nthreads = 'many'\n")
    notes, output = tmp_path / "notes.txt", ("--output", tmp_path / "out")
    assert process().returncode == 2
    assert process(notes).returncode == 2
    assert process(tmp_path / "absent", *output).returncode == 2
    fault = process(notes, *output, "--config", tmp_path / "bad.toml")
    assert fault.returncode == 1
    assert "worker.threads" in fault.stderr
    assert process(notes, "--output", notes / "below").returncode == 1
    assert not (tmp_path / "out").exists()
