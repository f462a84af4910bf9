"""From rows of figures, one a patient, to tables: per set, per group, per change, worst cases."""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from statistics import fmean

from models.training.measure import Row
from models.training.metrics import agreement, statistics

Table = dict[str, dict[str, float]]

NAMES = ("dataset", "patient", "group", "change")
# Quantity: the columns of its true value and of its error (found minus true), and its unit.
AGREEMENTS: Mapping[str, tuple[str, str, str]] = {
    **{
        f"{chamber}_{volume}": (f"{chamber}_{volume}_true_ml", f"{chamber}_{volume}_error_ml", "ml")
        for chamber in ("lv", "rv")
        for volume in ("edv", "esv")
    },
    "lv_ef": ("lv_ef_true", "lv_ef_error", "points"),
    "rv_ef": ("rv_ef_true", "rv_ef_error", "points"),
    "lv_mass": ("lv_mass_true_g", "lv_mass_error_g", "g"),
}
WORST = 3


def summarise(rows: Iterable[Row]) -> dict[str, Table]:
    """Per set and quantity: `models.training.metrics.statistics` over the patients with a value."""
    return {
        dataset: {key: statistics(values) for key, values in _columns(chosen).items()}
        for dataset, chosen in _by(rows, "dataset").items()
    }


def _by(rows: Iterable[Row], key: str) -> dict[str, list[Row]]:
    """Rows by the value of a column, in the order met."""
    groups: dict[str, list[Row]] = {}
    for row in rows:
        groups.setdefault(row.get(key, ""), []).append(row)
    return groups


def _columns(rows: Sequence[Row]) -> dict[str, list[float]]:
    """Values of each figure; what is not a number for a patient does not count."""
    keys = dict.fromkeys(key for row in rows for key in row if key not in NAMES)
    columns = {
        key: [row[key] for row in rows if key in row and not math.isnan(row[key])] for key in keys
    }
    return {key: values for key, values in columns.items() if values}


def agreements(rows: Sequence[Row]) -> Table:
    """Agreement (`models.training.metrics.agreement`) of each quantity of the rows of one set."""
    tables = {}
    for quantity in AGREEMENTS:
        found, truth = pairs(rows, quantity)
        if found:
            tables[quantity] = agreement(found, truth)
    return tables


def pairs(rows: Sequence[Row], quantity: str) -> tuple[list[float], list[float]]:
    """Found and true values of a quantity in `AGREEMENTS`, of the patients that have both."""
    true_key, error_key, _ = AGREEMENTS[quantity]
    usable = [row for row in rows if not math.isnan(row.get(error_key, math.nan))]
    truth = [row[true_key] for row in usable]
    return [row[true_key] + row[error_key] for row in usable], truth


def per_group(rows: Sequence[Row]) -> Table:
    """Mean of each Dice, mean absolute value of each error, per group; `n` counts patients."""
    return {
        group: {"n": len(chosen)}
        | {
            key: round(fmean(abs(value) for value in values), 4)
            for key, values in _columns(chosen).items()
            if key.startswith(("dice_", "sensitivity", "specificity", "accuracy")) or "error" in key
        }
        for group, chosen in _by(rows, "group").items()
        if group
    }


def worst_cases(rows: Sequence[Row]) -> dict[str, list[tuple[str, float]]]:
    """Patients with the lowest Dice, the largest distance or error, by figure; worst first."""
    worst = {}
    for key in _columns(rows):
        badness = _badness(key)
        if badness is None:
            continue
        valued = [
            (row["patient"], row[key]) for row in rows if not math.isnan(row.get(key, math.nan))
        ]
        ordered = sorted(valued, key=lambda case: badness(case[1]), reverse=True)
        worst[key] = [(name, round(value, 4)) for name, value in ordered[:WORST]]
    return worst


def _badness(key: str) -> Callable[[float], float] | None:
    if key.startswith(("dice_", "sensitivity", "specificity")):
        return lambda value: -value
    return abs if "error" in key or key.startswith("hausdorff") else None


def losses_in_points(plain: Sequence[Row], changed: Sequence[Row]) -> dict[str, dict[str, float]]:
    """Mean loss of Dice, in points (100 times), per simulated change, structure and phase.

    Positive: worse than on the unchanged images of the same patients.
    """
    before = {(row["dataset"], row["patient"]): row for row in plain}
    return {
        change: {
            key: round(
                fmean(
                    100 * (before[row["dataset"], row["patient"]][key] - row[key]) for row in rows
                ),
                2,
            )
            for key in rows[0]
            if key.startswith("dice_")
        }
        for change, rows in _by(changed, "change").items()
    }


def brief(table: Mapping[str, Mapping[str, float]]) -> dict[str, float]:
    """What a card says of a set: patients, mean Dice and the like, mean and absolute errors."""
    short: dict[str, float] = {"patients": max(int(entry["n"]) for entry in table.values())}
    for key, entry in table.items():
        if "true" in key:
            continue
        if "error" in key:
            short[f"{key}_mean_absolute"] = entry["mean_absolute"]
        short[f"{key}_mean"] = entry["mean"]
    return short
