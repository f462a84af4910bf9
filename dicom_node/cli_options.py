"""What the commands of `dicom-node` share: their options, and the settings."""

from pathlib import Path
from typing import Annotated

import typer

from config.schema import LogSettings, Settings

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


def load(config: Path | None) -> Settings:
    """Load settings and configure the log by them."""
    from config.loader import load_settings
    from dicom_node.logs import configure_logs

    configure_logs(LogSettings())
    settings = load_settings(config)
    configure_logs(settings.log)
    return settings
