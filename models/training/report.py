"""The Markdown report of an evaluation."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from models.training.targets import FRAMES, LOSS_POINTS, NOT_COMPARABLE, Target, targets

Content = Mapping[str, Any]
Pictures = Mapping[str, Sequence[str]]


def as_markdown(content: Content, pictures: Pictures) -> str:
    """Write out an evaluation.

    Parameters
    ----------
    content : mapping
        As `models.training.evaluate.as_content` makes it.
    pictures : mapping of set to names of picture files beside the report
    """
    lines = [
        f"# {content['model']} {content['version']}, {content['part']} patients",
        "",
        f"Weights {content['weights_sha256'][:12]}, {content['licence']}, fitted on: "
        f"{', '.join(content['fitted_on']) or 'nothing known'}. Not a medical device.",
        "Errors are found minus true. Intervals: 95 %, bootstrap over patients.",
    ]
    if content["pooled"]:
        lines += ["", "## Classes told apart, all together", ""]
        lines += _across(content["pooled"], lambda _: True)
    if content["task"] in NOT_COMPARABLE:
        lines += ["", "## Published", "", NOT_COMPARABLE[content["task"]]]
    for name, part in content["sets"].items():
        lines += _set(name, part, content["task"])
        lines += [line for file in pictures.get(name, ()) for line in ("", f"![{file}]({file})")]
    lines += [*_frames(content["frames"]), *_changes(content["scanner_change_loss_points"])]
    if content["left_out"]:
        lines += ["", "## Left out", ""]
        lines += [f"- {name}: {reason}" for name, reason in content["left_out"].items()]
    return "\n".join(lines) + "\n"


def _set(name: str, part: Content, task: str) -> list[str]:
    invented = name.startswith("synthetic")
    wanted = {} if invented else targets(name, task, seen=part["seen"])
    lines = ["", f"## {name}: {_acquaintance(part)}"]
    lines += _figures(part["summary"], wanted)
    if part["agreement"]:
        lines += ["", "### Agreement (Bland-Altman)", ""]
        lines += _table(
            ("quantity", "n", "bias", "95 %", "limits of agreement", "mean absolute", "r", "slope"),
            (
                (
                    quantity,
                    f"{entry['n']}",
                    f"{entry['bias']:.2f}",
                    f"{entry['bias_ci95_low']:.2f} to {entry['bias_ci95_high']:.2f}",
                    f"{entry['limit_low']:.1f} to {entry['limit_high']:.1f}",
                    f"{entry['mean_absolute']:.2f}",
                    f"{entry['correlation']:.3f}",
                    f"{entry['slope']:.3f}",
                )
                for quantity, entry in part["agreement"].items()
            ),
        )
    if len(part["groups"]) > 1:
        lines += ["", "### By group (mean Dice, mean absolute errors)", ""]
        lines += _across(part["groups"], lambda key: "hausdorff" not in key)
    return lines + _worst(part["worst"])


def _acquaintance(part: Content) -> str:
    """What the weights have seen of a set."""
    if not part["seen"]:
        return "unseen scanner, nobody of this set was fitted"
    if part["held_out"]:
        return "seen scanner, other patients of this set were fitted"
    return "**fitted on these very patients: no figures of held-out ones**"


def _figures(summary: Content, wanted: Mapping[str, Target]) -> list[str]:
    """Every figure with its statistics, and where there is one what it should reach."""
    head = ("quantity", "n", "mean", "95 %", "SD", "median", "mean abs.", "range")
    rows = (
        (
            key,
            f"{entry['n']}",
            f"{entry['mean']:.4g}",
            f"{entry['ci95_low']:.4g} to {entry['ci95_high']:.4g}",
            f"{entry['sd']:.3g}",
            f"{entry['median']:.4g}",
            f"{entry['mean_absolute']:.4g}",
            f"{entry['lowest']:.4g} to {entry['highest']:.4g}",
            *_beside(entry, wanted.get(key)),
        )
        for key, entry in summary.items()
    )
    return ["", *_table((*head, "published", "to reach", "reached"), rows)]


def _beside(entry: Mapping[str, float], target: Target | None) -> tuple[str, str, str]:
    if target is None:
        return "", "", ""
    sign = "≥" if target.statistic == "mean" else "≤"
    return target.published, f"{sign} {target.reach:g}", "yes" if target.met(entry) else "**no**"


def _across(tables: Content, shown: Callable[[str], bool]) -> list[str]:
    """One column for each table, one row for each key that any of them holds."""
    keys = dict.fromkeys(key for table in tables.values() for key in table if shown(key))
    return _table(
        ("", *tables),
        (
            (key, *(f"{table[key]:.4g}" if key in table else "" for table in tables.values()))
            for key in keys
        ),
    )


def _worst(worst: Content) -> list[str]:
    if not worst:
        return []
    rows = (
        (key, ", ".join(f"{name} ({value:.4g})" for name, value in cases))
        for key, cases in worst.items()
    )
    return ["", "### Worst cases", "", *_table(("quantity", "patients"), rows)]


def _frames(frames: Content) -> list[str]:
    lines = []
    for name, summary in frames["summary"].items():
        lines += ["", f"## ED and ES frames, {name}: {_acquaintance(frames['sets'][name])}", ""]
        lines += [
            "Each sequence starts at another point of the cycle. The set states no frame times, so "
            "errors are in frames and as a fraction of the cycle, not in ms."
        ]
        lines += _figures(summary, FRAMES)
    return lines + (_worst(frames["worst"]) if lines else [])


def _changes(losses: Content) -> list[str]:
    """Losses of Dice by simulated change, and the largest of each structure."""
    if not losses:
        return []
    keys = list(next(iter(losses.values())))
    largest = {key: max(loss[key] for loss in losses.values()) for key in keys}
    over = [
        f"{change}: {key} {loss[key]:.1f}"
        for change, loss in losses.items()
        for key in keys
        if loss[key] > LOSS_POINTS
    ]
    rows = ((change, *(f"{loss[key]:.2f}" for key in keys)) for change, loss in losses.items())
    return [
        "",
        "## Simulated scanner change: mean loss of Dice in points",
        "",
        *_table(("change", *keys), rows),
        f"| largest | {' | '.join(f'{value:.2f}' for value in largest.values())} |",
        "",
        f"To reach: no structure loses more than {LOSS_POINTS:g}. "
        + ("Reached." if not over else f"**Missed:** {'; '.join(over)}."),
    ]


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    return [
        f"| {' | '.join(head)} |",
        "|" + "---|" * len(head),
        *(f"| {' | '.join(row)} |" for row in rows),
    ]
