"""What the study of the quality checks found: its rows, as JSON and as Markdown."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from pipeline.case import Verdict

LARGE_ERROR = 10.0
"""Points of ejection fraction from which on a number must not pass unnoticed."""
WHOLE = "whole"
"""In place of a breakage where nothing was broken."""


@dataclass(frozen=True, slots=True)
class StudyRow:
    """What came of one study.

    Attributes
    ----------
    patient, breakage : str
    degree : float
    error, rv_error : float or None
        Of the ejection fractions of LV and RV, in points, before any check; None without one.
    verdict, rv_verdict : str
        On them; "rejected" where the chain takes no such study.
    checks, rv_checks : tuple of str
        That ask for review of them, or withhold them.
    """

    patient: str
    breakage: str
    degree: float
    error: float | None
    rv_error: float | None
    verdict: str
    rv_verdict: str
    checks: tuple[str, ...] = ()
    rv_checks: tuple[str, ...] = ()

    @property
    def wrong(self) -> bool:
        """Whether the ejection fraction of the LV is far off."""
        return _far_off(self.error)

    @property
    def noticed(self) -> bool:
        """Whether that of the LV is to be reviewed, or withheld."""
        return self.verdict != Verdict.OK


def write_report(rows: Sequence[StudyRow], output: Path, part: str) -> Path:
    """Write the rows as JSON and what follows from them as Markdown; returns the latter."""
    stem = output / f"quality-{part}"
    lines = [
        *_summary(rows, part),
        "",
        *_by_breakage(rows),
        "",
        *_by_check(rows),
        "",
        *_missed(rows),
    ]
    content = {"part": part, "rows": [asdict(row) for row in rows]}
    stem.with_suffix(".json").write_text(json.dumps(content, indent=1), encoding="utf-8")
    report = stem.with_suffix(".md")
    report.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return report


def _summary(rows: Sequence[StudyRow], part: str) -> list[str]:
    whole = [row for row in rows if row.breakage == WHOLE]
    wrong = [row for row in rows if row.breakage != WHOLE and row.wrong]
    reviewed, caught = ([row for row in these if row.noticed] for these in (whole, wrong))
    rv_reviewed = [row for row in whole if row.rv_verdict != Verdict.OK]
    either = [row for row in whole if row.noticed or row in rv_reviewed]
    rv_wrong = [row for row in whole if _far_off(row.rv_error)]
    rv_caught = [row for row in rv_wrong if row in rv_reviewed]
    return [
        f"# Quality checks, {part} patients of ACDC",
        "",
        "Measured by the node's chain on ED and ES as they are, and broken on purpose. A study is "
        "noticed where the verdict on the LV ejection fraction is not ok. Reviews by the network's "
        "own card are the same for every study and do not count; checks of the course over a whole "
        "cine have nothing to see here.",
        "",
        "| | studies | noticed |",
        "|---|---|---|",
        f"| whole | {len(whole)} | {_share(reviewed, whole)} |",
        f"| broken, LV EF off by more than {LARGE_ERROR:g} points | {len(wrong)} "
        f"| {_share(caught, wrong)} |",
        f"| whole, verdict on the RV EF | {len(whole)} | {_share(rv_reviewed, whole)} |",
        f"| whole, verdict on either | {len(whole)} | {_share(either, whole)} |",
        f"| whole, RV EF off by more than {LARGE_ERROR:g} points, verdict on it | {len(rv_wrong)} "
        f"| {_share(rv_caught, rv_wrong)} |",
    ]


def _by_breakage(rows: Sequence[StudyRow]) -> Iterator[str]:
    yield "| breakage | degree | studies | mean LV EF error | off by more | caught | noticed |"
    yield "|---|---|---|---|---|---|---|"
    for breakage, degree in dict.fromkeys((row.breakage, row.degree) for row in rows):
        these = [row for row in rows if (row.breakage, row.degree) == (breakage, degree)]
        errors = [abs(row.error) for row in these if row.error is not None]
        wrong = [row for row in these if row.wrong]
        cells = (
            *(breakage, f"{degree:g}", len(these)),
            f"{np.mean(errors):.1f}" if errors else "",
            *(len(wrong), len([row for row in wrong if row.noticed])),
            len([row for row in these if row.noticed]),
        )
        yield f"| {' | '.join(map(str, cells))} |"


def _by_check(rows: Sequence[StudyRow]) -> Iterator[str]:
    """Of how many studies each check speaks, and of how many it alone does."""
    yield "| check, LV EF | whole | broken, right within the limit | broken, wrong | wrong, alone |"
    yield "|---|---|---|---|---|"
    for check in sorted({check for row in rows for check in row.checks}):
        fired = [row for row in rows if check in row.checks]
        whole = [row for row in fired if row.breakage == WHOLE]
        wrong = [row for row in fired if row.breakage != WHOLE and row.wrong]
        alone = [row for row in wrong if row.checks == (check,)]
        right = len(fired) - len(whole) - len(wrong)
        yield f"| {check} | {len(whole)} | {right} | {len(wrong)} | {len(alone)} |"


def _missed(rows: Sequence[StudyRow]) -> list[str]:
    missed = [row for row in rows if row.wrong and not row.noticed]
    doubted = [row for row in rows if row.breakage == WHOLE and row.noticed]
    return [
        *("## Wrong and not noticed", ""),
        *([_line(row) for row in missed] or ["None."]),
        *("", "## Whole and noticed", ""),
        *([_line(row) for row in doubted] or ["None."]),
    ]


def _line(row: StudyRow) -> str:
    checks = f": {', '.join(row.checks)}" if row.checks else ""
    return f"- {row.patient}, {row.breakage} {row.degree:g}, {told(row.error)}{checks}"


def told(error: float | None) -> str:
    """The error of an ejection fraction in words."""
    return "no LV EF" if error is None else f"LV EF off by {error:+.1f} points"


def _far_off(error: float | None) -> bool:
    return error is not None and abs(error) > LARGE_ERROR


def _share(some: Sequence[StudyRow], of: Sequence[StudyRow]) -> str:
    return f"{len(some)} ({len(some) / len(of):.0%})" if of else "0"
