"""The command line `dicom-node`. Each command imports what it needs, so that all start fast."""

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal

import typer

from config.errors import NodeError
from config.schema import PROFILES, LogSettings, Settings

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
config_app = typer.Typer(help="Look at the configuration.", no_args_is_help=True)
phantom_app = typer.Typer(help="Write synthetic studies with known truth.", no_args_is_help=True)
app.add_typer(config_app, name="config")
app.add_typer(phantom_app, name="phantom")
study_app = typer.Typer(
    help="Compare networks and settings on labelled sets.", no_args_is_help=True
)
app.add_typer(study_app, name="study")

ConfigOption = Annotated[
    Path | None,
    typer.Option("--config", metavar="FILE", help="Configuration (TOML); without it the defaults."),
]
NeededConfig = Annotated[
    Path, typer.Option("--config", metavar="FILE", help="Configuration file (TOML).")
]
Paths = Annotated[
    list[Path],
    typer.Argument(metavar="PATH...", exists=True, help="DICOM files, or folders of them."),
]
OutputOption = Annotated[
    Path, typer.Option("--output", metavar="DIR", file_okay=False, help="Folder to write to.")
]
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

SeedOption = Annotated[int, typer.Option("--seed", min=0, help="Same seed, same study.")]
EnhancedOption = Annotated[
    bool, typer.Option("--enhanced", help="One Enhanced MR instance, not classic MR.")
]


def main() -> None:
    """Run the command line; faults end with one line on standard error and exit code 1."""
    try:
        app()
    except (NodeError, OSError) as error:  # OSError: a folder that cannot be written, a full disk
        print(f"dicom-node: {error}", file=sys.stderr)  # noqa: T201
        sys.exit(1)


def _tell_version(wanted: bool) -> None:
    if wanted:
        from config.version import SOFTWARE_VERSION

        typer.echo(SOFTWARE_VERSION)
        raise typer.Exit


@app.callback()
def _options(
    _: Annotated[
        bool,
        typer.Option(
            "--version", callback=_tell_version, is_eager=True, help="Tell the version and exit."
        ),
    ] = False,
) -> None:
    """Automatic cardiac MR analysis in the PACS: receives studies, returns SEG and SR."""


@app.command()
def serve(config: NeededConfig) -> None:
    """Run the node until SIGTERM or SIGINT."""
    from dicom_node.serve import serve as run

    run(_load(config))


@app.command()
def process(
    paths: Paths,
    output: OutputOption,
    config: ConfigOption = None,
    explain: Annotated[
        bool,
        typer.Option(
            "--explain", help="A picture of each stack: its slices, and what spoke for the LV."
        ),
    ] = False,
    profiles: Annotated[
        list[str] | None,
        typer.Option(
            "--profile",
            metavar="NAME",
            help=f"What to write: {', '.join(PROFILES)}; may be repeated. Else as configured.",
        ),
    ] = None,
) -> None:
    """Measure studies in files: the node's own chain, without network and database."""
    import gc

    # Looking for cycles as often as is usual takes a second of a study, and at the end of the
    # process most of another: each look goes over all that the libraries hold, and hardly any of
    # the many objects that come and go stands in a cycle.
    gc.set_threshold(50_000)
    from dicom_node.process import process_files

    wanted = [known for known in PROFILES if known in (profiles or ())]
    if unknown := {*(profiles or ())} - {*wanted}:
        raise typer.BadParameter(f"no profile {', '.join(sorted(unknown))}")
    findings = process_files(paths, output, _load(config), wanted, explain=explain)
    for entry in findings.series:
        reason = f": {entry.reason}" if entry.reason else ""
        typer.echo(
            f"{entry.status:<10} {entry.pipeline or '-':<6} {len(entry.objects)} objects{reason}"
        )
    if not findings.series:
        typer.echo("No DICOM series was found there.")
    typer.echo(f"Findings: {output / 'findings.json'}")
    gc.freeze()


@app.command()
def send(
    paths: Paths,
    to: Annotated[str, typer.Option("--to", metavar="AET@HOST:PORT", help="The peer to send to.")],
    calling: Annotated[
        str, typer.Option("--from", metavar="AET", help="Calling AE title.")
    ] = "DICOMNODE",
) -> None:
    """Send DICOM files to a peer by C-STORE.

    Ends with 0 when the peer confirmed all of them, else with 1: also where there was nothing to
    send, or a file or folder could not be read. What is not DICOM is named and passed over.
    """
    from dicom_node.send import send_paths

    if not send_paths(paths, to, calling):
        raise typer.Exit(1)


@app.command()
def status(
    config: NeededConfig,
    as_json: Annotated[bool, typer.Option("--json", help="Machine-readable.")] = False,
    since: Annotated[
        str,
        typer.Option(
            "--since", metavar="TIME", help="What changed since: 7d, 12h, 2w, or 2026-03-31."
        ),
    ] = "",
    states: Annotated[
        list[str] | None,
        typer.Option(
            "--state", metavar="NAME", help="In this state, such as rejected; may be repeated."
        ),
    ] = None,
    study: Annotated[
        str, typer.Option("--study", metavar="UID", help="Of this Study Instance UID.")
    ] = "",
) -> None:
    """Show series with state, reason and dates, and the outbox per destination.

    The options restrict which series and studies are shown; the outbox is always whole.
    """
    from dicom_node.status import print_status

    print_status(_load(config), as_json=as_json, study=study, since=since, states=states or ())


@app.command()
def replay(
    series: Annotated[
        str, typer.Argument(metavar="SERIES", help="Series Instance UID of the images.")
    ],
    config: ConfigOption = None,
) -> None:
    """Compute a series again from the store, with the models and settings of the running node.

    A result that differs supersedes the earlier one; the same is delivered again. Without a
    running node, the next start does it.
    """
    from dicom_node.replay import replay as run

    if not run(series, _load(config), typer.echo):
        raise typer.Exit(1)


@app.command()
def doctor(config: NeededConfig) -> None:
    """Check configuration, ports, destinations, disk, device, weights and their licences."""
    from dicom_node.doctor import examine

    if not examine(_load(config)):
        raise typer.Exit(1)


@config_app.command("show")
def config_show(config: ConfigOption = None) -> None:
    """Print the settings in force, as TOML: file, environment and defaults together."""
    import tomli_w

    from config.loader import load_settings

    given = load_settings(config).model_dump(mode="json", exclude_none=True)  # TOML has no null
    typer.echo(tomli_w.dumps(given), nl=False)


@phantom_app.command("cine")
def phantom_cine(
    output: OutputOption,
    seed: SeedOption = 1,
    enhanced: EnhancedOption = False,
) -> None:
    """Write a synthetic short-axis cine study, with its truth as JSON beside it."""
    from dicom_node.phantom import write_cine_study

    typer.echo(f"Truth: {write_cine_study(output, seed, enhanced=enhanced)}")


@phantom_app.command("lge")
def phantom_lge(  # noqa: PLR0917 - the options of a command
    output: OutputOption,
    seed: SeedOption = 1,
    averages: Annotated[int, typer.Option("--averages", min=1, help="Images of each slice.")] = 1,
    doubled_slices: Annotated[
        bool, typer.Option("--doubled-slices", help="Two breath-holds failed and were repeated.")
    ] = False,
    psir: Annotated[
        bool, typer.Option("--psir", help="Phase-sensitive images beside the magnitudes.")
    ] = False,
    no_scar: Annotated[bool, typer.Option("--no-scar", help="A healthy heart.")] = False,
    enhanced: EnhancedOption = False,
    cine: Annotated[
        Path | None,
        typer.Option(
            "--study-of",
            metavar="DIR",
            exists=True,
            file_okay=False,
            help="Of the heart and in the study that `phantom cine` wrote there, by its seed.",
        ),
    ] = None,
) -> None:
    """Write a synthetic late enhancement short axis, with its truth as JSON beside it."""
    from dicom_node.phantom_lge import study_of, write_lge_study

    if enhanced and (averages > 1 or doubled_slices):
        raise typer.BadParameter("--enhanced goes without --averages and --doubled-slices")
    header: Mapping[str, object] = {}
    if cine is not None:
        if output.resolve() == cine.resolve():
            raise typer.BadParameter("--output is another folder than --study-of")
        try:
            seed, header = study_of(cine)
        except ValueError as error:
            raise typer.BadParameter(str(error)) from None
    truth = write_lge_study(
        output, seed, averages=averages, doubled_slices=doubled_slices, psir=psir,
        scar=not no_scar, enhanced=enhanced, header=header,
    )  # fmt: skip
    typer.echo(f"Truth: {truth}")


@phantom_app.command("spect")
def phantom_spect(
    output: OutputOption,
    seed: SeedOption = 1,
    shows: Annotated[
        Literal["normal", "ischemia", "infarction"] | None,
        typer.Option("--shows", help="What it shows; else the seed decides."),
    ] = None,
    rest_only: Annotated[bool, typer.Option("--rest-only", help="Without the stress series.")] = (
        False
    ),
) -> None:
    """Write synthetic perfusion SPECT at stress and rest, with its truth as JSON beside it."""
    from dicom_node.phantom_spect import write_spect_study
    from models.synthetic.perfusion import VIEWS

    views = ("rest",) if rest_only else VIEWS
    typer.echo(f"Truth: {write_spect_study(output, seed, kind=shows, views=views)}")


@phantom_app.command("ecg")
def phantom_ecg(
    output: OutputOption,
    seed: SeedOption = 1,
    shows: Annotated[
        Literal["normal", "abnormal_heartbeat", "infarction", "history_of_infarction"] | None,
        typer.Option("--shows", help="What it shows; else the seed decides."),
    ] = None,
) -> None:
    """Write a synthetic 12-lead ECG as waveform and as sheet, with its truth as JSON beside it."""
    from dicom_node.phantom_ecg import write_ecg_study
    from models.ecg_sheet import CLASSES

    label = CLASSES.index(shows) if shows else None
    typer.echo(f"Truth: {write_ecg_study(output, seed, label=label)}")


@app.command()
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

    written = prepare_studies(paths, volumes, output, _load(config), typer.echo)
    counts = ", ".join(f"{part} {count}" for part, count in sorted(written.items()))
    typer.echo(f"Studies written to {output / 'studies'}: {counts or 'none'}")
    if not written:
        raise typer.Exit(1)


@app.command()
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
        Literal["test", "validation"],
        typer.Option("--part", help="Patients of the split; thresholds are chosen on validation."),
    ] = "test",
    per_patient: Annotated[
        int, typer.Option("--per-patient", min=0, max=20, help="Breakages of each patient.")
    ] = 5,
    config: ConfigOption = None,
) -> None:
    """Measure the quality checks on ACDC: good studies doubted, wrong results caught.

    Held-out patients are measured as they are and broken on purpose, with the networks and
    thresholds of the configuration. Goes on where it stopped; what the networks found is kept, so
    that other thresholds take seconds. Writes a table and the studies to DIR.
    """
    from dicom_node.study_quality import study_quality as run

    report = run(
        data, output, part=part, per_patient=per_patient, settings=_load(config), say=typer.echo
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


@app.command()
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
        Literal["float32", "bfloat16"], typer.Option("--precision", help="Of the networks.")
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


def _load(config: Path | None) -> Settings:
    """Load settings and configure the log by them."""
    from config.loader import load_settings
    from dicom_node.logs import configure_logs

    configure_logs(LogSettings())
    settings = load_settings(config)
    configure_logs(settings.log)
    return settings
