"""Distillation: a small student learns FG-Net's heatmaps from any faces, with or without labels."""
