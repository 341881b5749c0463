"""Numbers that the published code printed, on weights made from a seed, against ours."""
