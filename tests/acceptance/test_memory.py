"""Memory of node and worker: all later studies together keep less than the images of two."""

import re
from pathlib import Path

import pytest

from tests.acceptance.conftest import StartNode
from tests.acceptance.node import RunningNode, storescu
from tests.acceptance.studies import small_study
from tests.integration.peers import Orthanc

# Many MB of images a study, so that keeping even one copy of each shows; few phases, for speed.
SIZE = {"rows": 448, "columns": 448, "pixel_spacing_mm": (0.7, 0.7), "phases": 3, "slices": 9}
STUDY_MB = 448 * 448 * 3 * 9 * 4 / 1e6
WARM_UP = 6  # studies; libraries take their working memory, anew for each number of slices


def resident_mb(pid: int) -> float:
    """Resident memory of a process."""
    status = Path(f"/proc/{pid}/status").read_text()
    (kilobytes,) = re.findall(r"^VmRSS:\s+(\d+) kB", status, re.MULTILINE)
    return int(kilobytes) / 1000


def children(pid: int) -> list[int]:
    """Child processes of all threads of a process."""
    lists = Path(f"/proc/{pid}/task").glob("*/children")
    return [int(child) for one in lists for child in one.read_text().split()]


def memory_mb(node: RunningNode) -> dict[str, float]:
    """Resident memory of `serve` and of the largest of its children, the worker."""
    return {
        "node": resident_mb(node.pid),
        "worker": max(resident_mb(child) for child in children(node.pid)),
    }


def measure(node: RunningNode, folder: Path, studies: int) -> list[dict[str, float]]:
    """Send studies one after the other; memory after each."""
    found = []
    for seed in range(studies):
        study = small_study(folder / str(seed), 100 + seed, **SIZE)
        storescu(study.files, node.address)
        node.wait_settled(study.uid)
        found.append(memory_mb(node))
    return found


def growth_mb(found: list[dict[str, float]], process: str) -> float:
    """Growth from the first to the second half of the studies after the warm-up.

    Of each half the lowest, because allocators give back what they spared at one time or another.
    """
    values = [one[process] for one in found[WARM_UP:]]
    middle = len(values) // 2
    return min(values[middle:]) - min(values[:middle])


@pytest.mark.parametrize(
    "studies", [pytest.param(12, id="short"), pytest.param(20, marks=pytest.mark.campaign)]
)
def test_memory_is_flat(
    studies: int, start_node: StartNode, archive: Orthanc, tmp_path: Path
) -> None:
    node = start_node([archive.address])
    found = measure(node, tmp_path, studies)
    print(found)
    for process in ("node", "worker"):
        assert growth_mb(found, process) < 1.5 * STUDY_MB, found
