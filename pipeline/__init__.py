"""Pipeline: from received instances to measured, written results."""
