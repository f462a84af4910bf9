"""What `dicom-node process` says of files and folders it cannot use."""

import os
import subprocess
import sys


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
