"""Our numbers against those of the published code, on weights generated from a seed."""
