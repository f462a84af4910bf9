"""Measure shipped weights on the held-out patients, through the code that serves them.

`python -m models.training.evaluate cine_unet DATA OUTPUT`
"""

import argparse
import json
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from statistics import fmean, median, stdev
from typing import Any

import numpy as np
import numpy.typing as npt

from models.predict import HeartLocaliser, SliceSegmenter, choose_device
from models.registry import WeightsError
from models.split import Part, patients
from models.training import acdc, sunnybrook, synthetic
from models.training.acdc import LabelledVolume

DENSITY_G_PER_ML = 1.055
RELEVANCE_THRESHOLD = 0.5
CLASSES: Mapping[int, str] = {1: "lv", 2: "myo", 3: "rv"}

Row = dict[str, Any]
Labels = npt.NDArray[np.uint8]


def evaluate(
    model: str, data: Path, output: Path, *, part: Part = "test", device: str = "auto"
) -> Path:
    """Measure a shipped model on one part of the split; tables as JSON and Markdown.

    Parameters
    ----------
    model : str
        "cine_unet" or another segmenter, or "heart_localiser".
    data : Path
        Folder of the labelled sets; a set that is absent is left out.
    output : Path
        Folder for `evaluation-<model>-<part>.json` and `.md`.
    part : {"test", "validation"}
    device : {"auto", "cpu", "cuda"}

    Returns
    -------
    Path
        The Markdown table.

    Raises
    ------
    WeightsError
        The model is unknown or altered.
    """
    chosen = choose_device(device)  # type: ignore[arg-type]
    localiser = HeartLocaliser(device=chosen)
    if model == localiser.card.name:
        card, rows = localiser.card, _localiser_rows(localiser, data, part)
    else:
        segmenter = SliceSegmenter(model, chosen)
        card, rows = segmenter.card, _segmenter_rows(localiser, segmenter, data, part)
    summary = summarise(rows)
    title = f"{model} {card.version}, {part} patients"
    output.mkdir(parents=True, exist_ok=True)
    stem = output / f"evaluation-{model}-{part}"
    content = {
        "model": model,
        "weights_sha256": card.weights_sha256,
        "card": {f"{part}_{name}": _brief(table) for name, table in summary.items()},
        "summary": summary,
        "patients": rows,
    }
    stem.with_suffix(".json").write_text(json.dumps(content, indent=1), encoding="utf-8")
    stem.with_suffix(".md").write_text(as_markdown(title, summary), encoding="utf-8")
    return stem.with_suffix(".md")


def _volumes(data: Path, part: Part) -> Iterable[tuple[str, LabelledVolume, LabelledVolume]]:
    """ED and ES volumes of the fully labelled sets, one patient at a time."""
    if (data / "acdc").is_dir():
        for name in patients("acdc", part):
            ed, es = acdc.read_patient(data, name)
            yield "acdc", ed, es
    for seed in synthetic.SEEDS[part]:
        ed, es = synthetic.synthetic_volumes(seed)
        yield "synthetic", ed, es


def _segmenter_rows(
    localiser: HeartLocaliser, segmenter: SliceSegmenter, data: Path, part: Part
) -> list[Row]:
    rows = [
        _row_of_volumes(name, localiser, segmenter, ed, es) for name, ed, es in _volumes(data, part)
    ]
    if (data / "sunnybrook").is_dir():
        rows += [
            _row_of_slices(localiser, segmenter, sunnybrook.read_patient(data, name))
            for name in patients("sunnybrook", part)
        ]
    return rows


def _row_of_volumes(
    dataset: str,
    localiser: HeartLocaliser,
    segmenter: SliceSegmenter,
    ed: LabelledVolume,
    es: LabelledVolume,
) -> Row:
    """Dice and volumes of one patient with every slice and class labelled."""
    spacing = ed.pixel_spacing_mm
    both = localiser(np.concatenate([ed.images, es.images]), spacing)
    relevant = both.lv_probability.reshape(2, -1).max(axis=0) >= RELEVANCE_THRESHOLD
    voxel_ml = spacing[0] * spacing[1] * ed.slice_spacing_mm / 1000
    row: Row = {"dataset": dataset, "patient": ed.patient}
    volumes: dict[str, dict[str, tuple[float, float]]] = {}
    for volume in (ed, es):
        found = segmenter(volume.images, spacing, both.centre_yx) * relevant[:, None, None]
        volumes[volume.phase] = {}
        for label, name in CLASSES.items():
            row[f"dice_{name}_{volume.phase}"] = dice(found == label, volume.labels == label)
            volumes[volume.phase][name] = (
                float((found == label).sum() * voxel_ml),
                float((volume.labels == label).sum() * voxel_ml),
            )
    for chamber in ("lv", "rv"):
        row |= _volume_errors(chamber, volumes["ed"][chamber], volumes["es"][chamber])
    mass, true_mass = (DENSITY_G_PER_ML * value for value in volumes["ed"]["myo"])
    return row | {"lv_mass_true_g": true_mass, "lv_mass_error_g": mass - true_mass}


def _volume_errors(chamber: str, ed: tuple[float, float], es: tuple[float, float]) -> Row:
    """Errors (found minus true) of EDV, ESV in ml and EF in points."""
    ef, true_ef = (ejection_fraction(ed[index], es[index]) for index in (0, 1))
    return {
        f"{chamber}_edv_true_ml": ed[1],
        f"{chamber}_edv_error_ml": ed[0] - ed[1],
        f"{chamber}_esv_error_ml": es[0] - es[1],
        f"{chamber}_ef_true": true_ef,
        f"{chamber}_ef_error": ef - true_ef,
    }


def _row_of_slices(
    localiser: HeartLocaliser,
    segmenter: SliceSegmenter,
    slices: tuple[sunnybrook.LabelledImage, ...],
) -> Row:
    """Dice and EF of one Sunnybrook patient: labelled slices alone, areas in pixels."""
    spacing = sunnybrook.ASSUMED_SPACING_MM
    images = np.stack([entry.image for entry in slices]).astype(np.float32)
    where = localiser(images, spacing)
    found = segmenter(images, spacing, where.centre_yx)
    endo = np.stack([entry.endo for entry in slices])
    is_ed = np.array([entry.phase == "ed" for entry in slices])
    row: Row = {"dataset": "sunnybrook", "patient": slices[0].patient}
    areas = {}
    for phase, chosen in (("ed", is_ed), ("es", ~is_ed)):
        row[f"dice_lv_{phase}"] = dice(found[chosen] == 1, endo[chosen])
        areas[phase] = (float((found[chosen] == 1).sum()), float(endo[chosen].sum()))
        row[f"lv_area_ratio_{phase}"] = areas[phase][0] / areas[phase][1]
    with_epi = np.array([entry.epi is not None for entry in slices])
    walls = [entry.epi & ~entry.endo for entry in slices if entry.epi is not None]
    row["dice_myo_ed"] = dice(found[with_epi] == 2, np.stack(walls))
    true_ef = ejection_fraction(areas["ed"][1], areas["es"][1])
    ef = ejection_fraction(areas["ed"][0], areas["es"][0])
    relevant = float((where.lv_probability >= RELEVANCE_THRESHOLD).mean())
    return row | {"lv_ef_true": true_ef, "lv_ef_error": ef - true_ef, "slices_relevant": relevant}


def _localiser_rows(localiser: HeartLocaliser, data: Path, part: Part) -> list[Row]:
    """Distance of the centre, and how slices with and without LV are told apart."""
    rows = []
    for dataset, ed, es in _volumes(data, part):
        images = np.concatenate([ed.images, es.images])
        labels = np.concatenate([ed.labels, es.labels])
        found = localiser(images, ed.pixel_spacing_mm)
        shows = np.isin(labels, (1, 2)).any(axis=(1, 2))
        relevant = found.lv_probability >= RELEVANCE_THRESHOLD
        centre = np.argwhere(np.isin(labels, (1, 2)))[:, 1:].mean(axis=0)
        offset = (np.array(found.centre_yx) - centre) * ed.pixel_spacing_mm
        row: Row = {
            "dataset": dataset,
            "patient": ed.patient,
            "centre_error_mm": float(np.hypot(*offset)),
            "sensitivity": float(relevant[shows].mean()),
        }
        if not shows.all():
            row["specificity"] = float((~relevant[~shows]).mean())
        rows.append(row)
    return rows


def dice(found: npt.NDArray[np.bool_], truth: npt.NDArray[np.bool_]) -> float:
    """Dice overlap of two masks of the same shape; 1 where both are empty."""
    total = int(found.sum()) + int(truth.sum())
    return 1.0 if total == 0 else 2 * int((found & truth).sum()) / total


def ejection_fraction(edv: float, esv: float) -> float:
    """Ejection fraction in percent; NaN without an end-diastolic volume."""
    return 100 * (edv - esv) / edv if edv > 0 else float("nan")


def summarise(rows: Iterable[Row]) -> dict[str, dict[str, dict[str, float]]]:
    """Per set and quantity: n, mean, SD, median, and the mean of the absolute value."""
    listed = list(rows)
    result: dict[str, dict[str, dict[str, float]]] = {}
    for dataset in dict.fromkeys(row["dataset"] for row in listed):
        chosen = [row for row in listed if row["dataset"] == dataset]
        keys = dict.fromkeys(key for row in chosen for key in row)
        result[dataset] = {
            key: _statistics([row[key] for row in chosen if key in row])
            for key in keys
            if key not in ("dataset", "patient")
        }
    return result


_STATISTICS: Mapping[str, Callable[[list[float]], float]] = {
    "mean": fmean,
    "sd": lambda values: stdev(values) if len(values) > 1 else 0.0,
    "median": median,
    "mean_absolute": lambda values: fmean(abs(value) for value in values),
    "lowest": min,
    "highest": max,
}


def _statistics(values: list[float]) -> dict[str, float]:
    figures = {name: round(measure(values), 4) for name, measure in _STATISTICS.items()}
    return {"n": len(values)} | figures


def _brief(table: Mapping[str, Mapping[str, float]]) -> dict[str, float]:
    """What a card says of a set: n, mean Dice and the like, mean absolute errors."""
    brief: dict[str, float] = {"patients": max(int(entry["n"]) for entry in table.values())}
    for key, entry in table.items():
        if "true" in key:
            continue
        if "error" in key:
            brief[f"{key}_mean_absolute"] = entry["mean_absolute"]
        brief[f"{key}_mean"] = entry["mean"]
    return brief


def as_markdown(title: str, summary: Mapping[str, Mapping[str, Mapping[str, float]]]) -> str:
    """The summary as one table per set."""
    lines = [f"# {title}"]
    columns = ("n", *_STATISTICS)
    for dataset, table in summary.items():
        lines += ["", f"## {dataset}", "", f"| quantity | {' | '.join(columns)} |"]
        lines.append("|" + "---|" * (len(columns) + 1))
        lines += [
            f"| {key} | {' | '.join(f'{entry[column]:.4g}' for column in columns)} |"
            for key, entry in table.items()
        ]
    return "\n".join(lines) + "\n"


def main() -> None:
    """Command line of `evaluate`."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model")
    parser.add_argument("data", type=Path)
    parser.add_argument("output", type=Path)
    parser.add_argument("--part", choices=("test", "validation"), default="test")
    parser.add_argument("--device", default="auto")
    try:
        evaluate(**vars(parser.parse_args()))
    except WeightsError as error:
        parser.error(str(error))


if __name__ == "__main__":
    main()
