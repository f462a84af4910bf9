"""Logging of what no part of the product catches."""

import json
import subprocess
import sys

PROGRAM = """
import threading
from config.schema import LogSettings
from dicom_node.logs import configure_logs

configure_logs(LogSettings(format="json"))
thread = threading.Thread(target=lambda: 1 / 0, name="lost")
thread.start()
"""


def test_fault_of_a_thread_is_one_line_of_the_log() -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, check=True)
    line = json.loads(done.stderr)
    assert line["thread"] == "lost"
    assert "ZeroDivisionError" in line["exception"]
