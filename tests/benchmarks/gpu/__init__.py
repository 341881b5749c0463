"""Tests of the measurement of a GPU."""
