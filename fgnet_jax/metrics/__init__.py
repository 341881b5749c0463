"""Metrics of AU detection, with confidence intervals, decision thresholds and tables."""
