"""Benchmarks: `make benchmark`. Ratios measured side by side in one run; figures are not gates."""

import argparse

from config.schema import LogSettings
from dicom_node.logs import configure_logs
from tests.benchmarks import receive, refusals, stages

BENCHMARKS = {"receive": receive.run, "refusals": refusals.run, "stages": stages.run}


def main() -> None:
    """Run all benchmarks, or those named."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(BENCHMARKS))
    configure_logs(LogSettings(level="error"))
    for name in parser.parse_args().names or BENCHMARKS:
        print(f"== {name}")
        BENCHMARKS[name]()


if __name__ == "__main__":
    main()
