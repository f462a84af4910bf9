"""Settings of the node: one schema, its loader and the documented default file."""
