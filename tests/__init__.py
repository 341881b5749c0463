"""Tests of the package, laid out as it is; `parity` holds the published code's own numbers."""
