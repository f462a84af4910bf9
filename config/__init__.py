"""Settings of the node: one schema, its loader and the documented default file."""

from pathlib import Path

DEFAULT_FILE = Path(__file__).with_name("default.toml")
