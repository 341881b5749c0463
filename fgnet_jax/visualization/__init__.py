"""Images: training curves, sheets of heatmaps, and faces and scenes with their AUs drawn over them."""
