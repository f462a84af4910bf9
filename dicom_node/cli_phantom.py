"""`dicom-node phantom`: synthetic studies with known truth."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal

import typer

from dicom_node.cli_options import OutputOption

phantom_app = typer.Typer(help="Write synthetic studies with known truth.", no_args_is_help=True)

SeedOption = Annotated[int, typer.Option("--seed", min=0, help="Same seed, same study.")]
EnhancedOption = Annotated[
    bool, typer.Option("--enhanced", help="One Enhanced MR instance, not classic MR.")
]


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
    pdf: Annotated[bool, typer.Option("--pdf", help="Its sheet as encapsulated PDF, too.")] = False,
) -> None:
    """Write a synthetic 12-lead ECG as waveform and as sheet, with its truth as JSON beside it."""
    from dicom_node.phantom_ecg import write_ecg_study
    from models.ecg_sheet import CLASSES

    label = CLASSES.index(shows) if shows else None
    typer.echo(f"Truth: {write_ecg_study(output, seed, label=label, pdf=pdf)}")
