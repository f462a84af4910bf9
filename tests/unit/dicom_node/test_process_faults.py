"""What `dicom-node process` says of files and folders it cannot use."""

import os
import subprocess
import sys

from dicom_node.process import read_inputs
from pipeline.findings import Findings, write_findings


def test_a_pipe_is_left_out_and_an_output_that_cannot_be_written_is_one_line(tmp_path):
    (tmp_path / "study").mkdir()
    os.mkfifo(tmp_path / "study" / "pipe")
    (tmp_path / "file").touch()
    run = subprocess.run(
        [sys.executable, "-m", "dicom_node", "process", "study", "--output", "file/out"],
        cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert run.returncode == 1
    left_out, fault = run.stderr.splitlines()
    assert "named pipe" in left_out
    assert fault.startswith("dicom-node: ")
    assert "file/out" in fault


def test_folders_and_links_that_are_not_looked_into_are_named(tmp_path):
    (tmp_path / "elsewhere").mkdir()
    study = tmp_path / "study"
    study.mkdir()
    (study / "link").symlink_to(tmp_path / "elsewhere")
    (study / "closed").mkdir(mode=0)
    (study / "self").symlink_to("self")
    left_out = read_inputs([study]).left_out
    expected = [
        "link: no file to read (IsADirectoryError)",
        "self: no file to read (Too many levels of symbolic links)",
    ]
    if os.geteuid():  # nothing is closed to root
        expected.append("closed: no file to read (PermissionError)")
    assert list(left_out) == expected


def test_a_file_name_that_is_not_utf_8_is_named_all_the_same(tmp_path):
    (tmp_path / os.fsdecode(b"M\xfcller.txt")).touch()
    left_out = read_inputs([tmp_path]).left_out
    write_findings(tmp_path / "findings.json", Findings.of((), files_left_out=left_out))
    assert "M?ller.txt: no DICOM" in (tmp_path / "findings.json").read_text()
