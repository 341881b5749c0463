"""Evaluation of trained networks: FG-Net's protocols, metrics with confidence intervals, reports and images."""
