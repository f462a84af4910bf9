"""Logging of what no part of the product catches."""

import json
import subprocess
import sys

LOST_THREAD = """
import threading
from config.schema import LogSettings
from dicom_node.logs import configure_logs

configure_logs(LogSettings(format="json"))
thread = threading.Thread(target=lambda: 1 / 0, name="lost")
thread.start()
"""


def test_fault_of_a_thread_is_one_line_of_the_log() -> None:
    done = subprocess.run([sys.executable, "-c", LOST_THREAD], capture_output=True, check=True)
    line = json.loads(done.stderr)
    assert line["thread"] == "lost"
    assert "ZeroDivisionError" in line["exception"]


LIBRARY = """
import logging
import structlog
from config.schema import LogSettings
from dicom_node.logs import configure_logs

configure_logs(LogSettings(format="json"))
logging.getLogger("fontTools.subset").info("glyf pruned")
logging.getLogger("fontTools.subset").warning("a broken font")
structlog.get_logger("dicom_node.worker").info("job completed")
"""


def test_of_libraries_only_warnings_are_told() -> None:
    done = subprocess.run([sys.executable, "-c", LIBRARY], capture_output=True, check=True)
    events = [json.loads(line)["event"] for line in done.stderr.splitlines()]
    assert events == ["a broken font", "job completed"]
