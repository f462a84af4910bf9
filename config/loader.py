"""Read the configuration file, apply overrides from the environment, check against the schema."""

import difflib
import os
import tomllib
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from config.errors import ConfigError
from config.schema import Settings

ENVIRONMENT_PREFIX = "DICOM_NODE__"


def load_settings(path: Path | None, environ: Mapping[str, str] = os.environ) -> Settings:
    """Load settings from a TOML file and the environment.

    Parameters
    ----------
    path : Path or None
        The configuration file; None gives the defaults.
    environ : mapping
        Variables such as ``DICOM_NODE__STORAGE__FOLDER`` override ``storage.folder``. Lists of
        tables (peers, routes, destinations) are given in the file alone.

    Raises
    ------
    ConfigError
        The file cannot be read, is not TOML, a key or value is not allowed, or a variable
        names a key but for an underscore; the message names each key and what is allowed.
    """
    values = _read_toml(path) if path else {}
    in_file = frozenset(_keys(values))
    meant = {variable.replace("__", "_"): variable for variable in _variables(Settings)}
    for name, value in environ.items():
        if name.startswith(ENVIRONMENT_PREFIX):
            _override(values, name, value)
        elif name in meant:
            raise ConfigError(f"environment: {name}: this setting is given as {meant[name]}")
    try:
        settings = Settings.model_validate(values)
    except ValidationError as error:
        lines = [
            f"{_origin(detail, path, in_file, environ)}: {_explain(detail)}"
            for detail in error.errors()
        ]
        raise ConfigError("\n".join(lines)) from error
    return _resolve_folders(settings, path)


def _read_toml(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: not a TOML file: {error}") from error


def _variables(model: type[BaseModel], above: str = "DICOM_NODE") -> Iterator[str]:
    """The variable of every key that the environment can give."""
    for name, field in model.model_fields.items():
        variable = f"{above}__{name.upper()}"
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            yield from _variables(field.annotation, variable)
        else:
            yield variable


def _keys(table: Mapping[str, Any], *above: str) -> Iterator[tuple[str, ...]]:
    """Every key and table of a file, each by the names on the way to it."""
    for name, value in table.items():
        yield (*above, name)
        if isinstance(value, dict):
            yield from _keys(value, *above, name)


def _origin(
    detail: ErrorDetails,
    path: Path | None,
    in_file: Collection[tuple[str, ...]],
    environ: Mapping[str, str],
) -> str:
    """Name what an error stands in: the variable that gives the key, else the file."""
    location = tuple(str(step) for step in detail["loc"])
    for name in environ:
        if location and name.startswith(ENVIRONMENT_PREFIX):
            given = tuple(name.removeprefix(ENVIRONMENT_PREFIX).lower().split("__"))
            sets_it = location[: len(given)] == given
            makes_it = given[: len(location)] == location and location not in in_file
            if sets_it or makes_it:
                return f"environment: {name}"
    return str(path) if path else "configuration"


def _override(values: dict[str, Any], name: str, value: str) -> None:
    *tables, key = name.removeprefix(ENVIRONMENT_PREFIX).lower().split("__")
    table = values
    for step in tables:
        table = table.setdefault(step, {})
        if not isinstance(table, dict):
            raise ConfigError(f"environment: {name}: lists of tables are given in the file alone")
    table[key] = value


def _resolve_folders(settings: Settings, path: Path | None) -> Settings:
    """Make relative folders relative to the configuration file, not to the caller."""
    base = path.resolve().parent if path else Path.cwd()
    storage, worker = settings.storage, settings.worker
    storage = storage.model_copy(update={"folder": base / storage.folder})
    if worker.weights_folder is not None:
        worker = worker.model_copy(update={"weights_folder": base / worker.weights_folder})
    return settings.model_copy(update={"storage": storage, "worker": worker})


def _explain(detail: ErrorDetails) -> str:
    location = [str(step) for step in detail["loc"]]
    key = ".".join(location) or "file"
    if detail["type"] == "extra_forbidden":
        allowed = _allowed_keys(location[:-1])
        near = difflib.get_close_matches(location[-1], allowed, n=1)
        hint = f"did you mean '{near[0]}'? " if near else ""
        return f"{key}: unknown key; {hint}allowed: {', '.join(allowed)}"
    if detail["type"] == "missing":
        return f"{key}: is needed and not given"
    message = detail["msg"].removeprefix("Value error, ")
    if not location:
        return message
    return f"{key} = {detail['input']!r}: {message[0].lower()}{message[1:]}"


def _allowed_keys(location: list[str]) -> list[str]:
    """Keys of the table at `location`, a path of field names and list indices."""
    model: type[BaseModel] = Settings
    for step in location:
        if step.isdigit():
            continue
        annotation = model.model_fields[step].annotation
        inner = get_args(annotation)[0] if get_origin(annotation) is tuple else annotation
        model = inner if isinstance(inner, type) and issubclass(inner, BaseModel) else model
    return sorted(model.model_fields)
