"""Corpora: dataset builders, the input pipeline, protocols and synthetic faces."""
