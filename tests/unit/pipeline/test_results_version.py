"""What is written may only change together with the version of the product.

The version decides the SOP Instance UIDs of the results: if the same inputs gave other bytes under
the same version, an archive would hold two objects of one UID. `tests/golden/results.json` holds
the digests of the results of a fixed case and the version that wrote them.
"""

import hashlib
import json
from pathlib import Path

from config.version import SOFTWARE_VERSION
from pipeline.results import write_results
from tests.unit.pipeline.result_cases import CONTEXT, encoded, make_case

GOLDEN = Path(__file__).parents[2] / "golden" / "results.json"
ADVICE = (
    "results changed: raise `version` in pyproject.toml if it is still that of the last commit, "
    "`make install`, and run `python -m tests.unit.pipeline.test_results_version`"
)


def written() -> dict[str, str]:
    results = write_results(make_case(), CONTEXT, ("full", "display", "legacy"))
    return {item.role: hashlib.sha256(encoded(item)).hexdigest() for item in results}


def test_the_same_version_writes_the_same_bytes():
    golden = json.loads(GOLDEN.read_text(encoding="utf-8"))
    assert golden == {"software_version": SOFTWARE_VERSION, "sha256": written()}, ADVICE


if __name__ == "__main__":
    content = {"software_version": SOFTWARE_VERSION, "sha256": written()}
    GOLDEN.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
