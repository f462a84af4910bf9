"""Commands of `dicom-node` that train, measure and compare networks."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from dicom_node.cli_options import ConfigOption, OutputOption, Paths, load

study_app = typer.Typer(
    help="Compare networks and settings on labelled sets.", no_args_is_help=True
)

DataOption = Annotated[
    Path,
    typer.Option(
        "--data",
        metavar="DIR",
        envvar="DICOM_NODE_DATA",
        exists=True,
        file_okay=False,
        help="Folder of the labelled sets (acdc, mnms, sunnybrook, emidec, ecg, ecg_images, "
        "studies), as published.",
    ),
]
ModelArgument = Annotated[str, typer.Argument(metavar="MODEL", help="A model, by its name.")]
DeviceOption = Annotated[
    Literal["auto", "cpu", "cuda"], typer.Option("--device", help="Where to compute.")
]


def prepare(
    paths: Paths,
    volumes: Annotated[
        Path,
        typer.Option(
            "--volumes", metavar="CSV", exists=True, dir_okay=False,
            help="Columns study (UID, or folder relative to the CSV), lv_edv_ml, lv_esv_ml; "
            "optional rv_edv_ml, rv_esv_ml, part (train, validation, test).",
        ),
    ],
    output: Annotated[
        Path,
        typer.Option("--output", metavar="DIR", file_okay=False, help="Data folder of training."),
    ],
    config: ConfigOption = None,
) -> None:  # fmt: skip
    """Make your own studies, with the volumes you reported, ready for train and evaluate."""
    from dicom_node.prepare import prepare_studies

    written = prepare_studies(paths, volumes, output, load(config), typer.echo)
    counts = ", ".join(f"{part} {count}" for part, count in sorted(written.items()))
    typer.echo(f"Studies written to {output / 'studies'}: {counts or 'none'}")
    if not written:
        raise typer.Exit(1)


def train(  # noqa: PLR0917 - the options of a command
    model: ModelArgument,
    data: DataOption,
    output: OutputOption,
    steps: Annotated[
        int | None, typer.Option("--steps", min=1, help="Optimiser steps; else the recipe's.")
    ] = None,
    seed: Annotated[int, typer.Option("--seed", help="Same seed, same run.")] = 0,
    sets: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="NAME", help="Train on this set alone; may be repeated."),
    ] = None,
    initial: Annotated[
        Path | None,
        typer.Option(
            "--initial", metavar="FILE", exists=True, dir_okay=False,
            help="Weights to start from (.npz of a model, or a checkpoint); else random ones.",
        ),
    ] = None,
    refit: Annotated[
        bool,
        typer.Option(
            "--refit", help="On all patients but those never fitted, once figures were taken."
        ),
    ] = False,
    device: DeviceOption = "auto",
) -> None:  # fmt: skip
    """Train a model; goes on from the last checkpoint in the output folder.

    Checkpoint, log.jsonl, curve.png, and at the end weights and card lie in DIR/MODEL.
    """
    from models.backend import choose_backend
    from models.training.data import SETS
    from models.training.export import export
    from models.training.train import train as run

    unknown = set(sets or ()) - set(SETS)
    if unknown:
        raise typer.BadParameter(f"no set {', '.join(sorted(unknown))}; known: {', '.join(SETS)}")
    chosen = tuple(sets) if sets else SETS
    folder = run(
        model, data, output, steps=steps, seed=seed, sets=chosen, initial=initial,
        refit=refit, device=choose_backend(device).device,
    )  # fmt: skip
    export(model, data, output, version="untested", folder=folder, sets=chosen, refit=refit)
    typer.echo(f"Weights and card: {folder}")
    typer.echo(f"Measure them: dicom-node evaluate {model} --weights {folder} ...")


@study_app.command("lv-slices")
def study_lv_slices(
    data: DataOption,
    output: OutputOption,
    steps: Annotated[
        int, typer.Option("--steps", min=8, help="Optimiser steps of each of the 28 trainings.")
    ] = 2_000,
    quick: Annotated[
        bool, typer.Option("--quick", help="A few steps on few patients: only to see it work.")
    ] = False,
    device: DeviceOption = "auto",
) -> None:
    """Compare arrangements, optimisers and networks that tell slices with LV from those without.

    Goes on where it stopped. Writes a table, learning curves and the runs to DIR/lv-slices.
    """
    from models.backend import choose_backend
    from models.training.study_lv_slices import study_lv_slices as run

    report = run(
        data, output, steps=steps, quick=quick, device=choose_backend(device).device, say=typer.echo
    )
    typer.echo(f"Report: {report}")


@study_app.command("quality")
def study_quality(
    data: DataOption,
    output: OutputOption,
    part: Annotated[
        Literal["test", "validation", "train"],
        typer.Option("--part", help="Patients of the split; thresholds are never chosen on test."),
    ] = "test",
    per_patient: Annotated[
        int, typer.Option("--per-patient", min=0, max=20, help="Breakages of each patient.")
    ] = 5,
    config: ConfigOption = None,
) -> None:
    """Measure the quality checks on ACDC: good studies doubted, wrong results caught.

    Patients are measured as they are and broken on purpose, with the networks and
    thresholds of the configuration. Goes on where it stopped; what the networks found is kept, so
    that other thresholds take seconds. Writes a table and the studies to DIR.
    """
    from dicom_node.study_quality import study_quality as run

    report = run(
        data, output, part=part, per_patient=per_patient, settings=load(config), say=typer.echo
    )
    typer.echo(f"Report: {report}")


@study_app.command("out-of-fold")
def study_out_of_fold(
    data: DataOption,
    output: OutputOption,
    folds: Annotated[
        int, typer.Option("--folds", min=2, max=10, help="Parts, each left out once.")
    ] = 2,
    steps: Annotated[
        int, typer.Option("--steps", min=4, help="Optimiser steps of the network of each part.")
    ] = 900,
    device: DeviceOption = "auto",
) -> None:
    """Measure patients of ACDC by networks that never saw them, for train cine_disease_....

    Trains one segmenting network for each part of the patients, on the others. Goes on where it
    stopped. Then `train` with the same output folder learns disease groups from what was measured.
    """
    from dicom_node.out_of_fold import out_of_fold
    from models.backend import choose_backend

    written = out_of_fold(
        data, output, folds=folds, steps=steps, backend=choose_backend(device), say=typer.echo
    )
    typer.echo(f"Measured hearts: {', '.join(str(path) for path in written.values())}")


def evaluate(  # noqa: PLR0917 - the options of a command
    model: ModelArgument,
    data: DataOption,
    output: OutputOption,
    part: Annotated[
        Literal["test", "validation"], typer.Option("--part", help="Patients of the split.")
    ] = "test",
    weights: Annotated[
        Path | None,
        typer.Option(
            "--weights", metavar="DIR", exists=True, file_okay=False,
            help="Folder of card and weights that train wrote; else the shipped ones.",
        ),
    ] = None,
    scanner_change: Annotated[
        bool,
        typer.Option(
            "--scanner-change/--no-scanner-change",
            help="Also under simulated scanner changes, which takes most of the time.",
        ),
    ] = True,
    device: DeviceOption = "auto",
    precision: Annotated[
        Literal["float32", "bfloat16"], typer.Option("--precision", help="Of a segmenting network.")
    ] = "float32",
) -> None:  # fmt: skip
    """Measure a model on the held-out patients, through the node's own chain.

    Writes Dice and Hausdorff distances, volumes with Bland-Altman plots, ED and ES frame errors,
    what simulated scanner changes cost, figures by group and the worst cases with their contours,
    as Markdown, JSON and PNG.
    """
    from dicom_node.evaluate import evaluate_model

    report = evaluate_model(
        model, data, output, part=part, device=device, precision=precision,
        weights=weights, scanner_changes=scanner_change, say=typer.echo,
    )  # fmt: skip
    typer.echo(f"Report: {report}")
