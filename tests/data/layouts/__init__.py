"""Readers of the owners' folders."""
