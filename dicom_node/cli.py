"""The command line `dicom-node`. Each command imports what it needs, so that all start fast."""

import json
import sys
from pathlib import Path
from typing import Annotated

import typer

from config.errors import NodeError
from config.schema import LogSettings, Settings

app = typer.Typer(
    help="Automatic cardiac MR analysis in the PACS: receives studies, returns SEG and SR.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
config_app = typer.Typer(help="Look at the configuration.", no_args_is_help=True)
phantom_app = typer.Typer(help="Write synthetic studies with known truth.", no_args_is_help=True)
app.add_typer(config_app, name="config")
app.add_typer(phantom_app, name="phantom")

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
        help="Folder of labelled images.",
    ),
]


def main() -> None:
    """Run the command line; faults end with one line on standard error and exit code 1."""
    try:
        app()
    except NodeError as error:
        print(f"dicom-node: {error}", file=sys.stderr)  # noqa: T201
        sys.exit(1)


@app.command()
def serve(config: NeededConfig) -> None:
    """Run the node until SIGTERM or SIGINT."""
    from dicom_node.serve import serve as run

    run(_load(config))


@app.command()
def process(paths: Paths, output: OutputOption, config: ConfigOption = None) -> None:
    """Measure studies in files: the node's own chain, without network and database."""
    from dicom_node.process import process_files

    findings = process_files(paths, output, _load(config))
    for entry in findings.series:
        reason = f": {entry.reason}" if entry.reason else ""
        typer.echo(
            f"{entry.status:<10} {entry.pipeline or '-':<6} {len(entry.objects)} objects{reason}"
        )
    if not findings.series:
        typer.echo("No DICOM series was found there.")
    typer.echo(f"Findings: {output / 'findings.json'}")


@app.command()
def send(
    paths: Paths,
    to: Annotated[str, typer.Option("--to", metavar="AET@HOST:PORT", help="The peer to send to.")],
    calling: Annotated[
        str, typer.Option("--from", metavar="AET", help="Calling AE title.")
    ] = "DICOMNODE",
) -> None:
    """Send DICOM files to a peer by C-STORE."""
    from dicom_node.send import send_paths

    if not send_paths(paths, to, calling):
        raise typer.Exit(1)


@app.command()
def status(
    config: NeededConfig,
    as_json: Annotated[bool, typer.Option("--json", help="Machine-readable.")] = False,
) -> None:
    """Show series with state, reason and age, and the outbox per destination."""
    from dicom_node.status import print_status

    print_status(_load(config), as_json=as_json)


@app.command()
def doctor(config: NeededConfig) -> None:
    """Check configuration, ports, destinations, disk, device, weights and their licences."""
    from dicom_node.doctor import examine

    if not examine(_load(config)):
        raise typer.Exit(1)


@config_app.command("show")
def config_show(config: ConfigOption = None) -> None:
    """Print the settings in force: file, environment and defaults together."""
    from config.loader import load_settings

    typer.echo(json.dumps(load_settings(config).model_dump(mode="json"), indent=2))


@phantom_app.command("cine")
def phantom_cine(
    output: OutputOption,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Same seed, same study.")] = 1,
    enhanced: Annotated[
        bool, typer.Option("--enhanced", help="One Enhanced MR instance, not classic MR.")
    ] = False,
) -> None:
    """Write a synthetic short-axis cine study, with its truth as JSON beside it."""
    from dicom_node.phantom import write_cine_study

    typer.echo(f"Truth: {write_cine_study(output, seed, enhanced=enhanced)}")


@app.command()
def train(
    model: Annotated[str, typer.Argument(help="Model to train, by its registered name.")],
    data: DataOption,
    output: OutputOption,
) -> None:
    """Train a model; resumes from the last checkpoint in the output folder."""
    from models.training.train import train as run

    run(model, data, output)


@app.command()
def evaluate(
    model: Annotated[str, typer.Argument(help="Model to evaluate, by its registered name.")],
    data: DataOption,
    output: OutputOption,
) -> None:
    """Measure a model on the held-out patients of the split file."""
    from models.training.evaluate import evaluate as run

    run(model, data, output)


def _load(config: Path | None) -> Settings:
    """Load settings and configure the log by them."""
    from config.loader import load_settings
    from dicom_node.logs import configure_logs

    configure_logs(LogSettings())
    settings = load_settings(config)
    configure_logs(settings.log)
    return settings
