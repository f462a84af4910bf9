"""The command line `dicom-node`. Each command imports what it needs, so that all start fast."""

import sys
from typing import Annotated

import typer

from config.errors import NodeError
from config.schema import PROFILES
from dicom_node.cli_options import ConfigOption, NeededConfig, OutputOption, Paths, load
from dicom_node.cli_phantom import phantom_app
from dicom_node.cli_training import evaluate, prepare, study_app, train

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
config_app = typer.Typer(help="Look at the configuration.", no_args_is_help=True)
app.add_typer(config_app, name="config")
app.add_typer(phantom_app, name="phantom")
app.add_typer(study_app, name="study")


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

    run(load(config))


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
    findings = process_files(paths, output, load(config), wanted, explain=explain)
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

    print_status(load(config), as_json=as_json, study=study, since=since, states=states or ())


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

    if not run(series, load(config), typer.echo):
        raise typer.Exit(1)


@app.command()
def doctor(config: NeededConfig) -> None:
    """Check configuration, ports, destinations, disk, device, weights and their licences."""
    from dicom_node.doctor import examine

    if not examine(load(config)):
        raise typer.Exit(1)


@config_app.command("show")
def config_show(config: ConfigOption = None) -> None:
    """Print the settings in force, as TOML: file, environment and defaults together."""
    import tomli_w

    from config.loader import load_settings

    given = load_settings(config).model_dump(mode="json", exclude_none=True)  # TOML has no null
    typer.echo(tomli_w.dumps(given), nl=False)


for command in (prepare, train, evaluate):
    app.command()(command)
