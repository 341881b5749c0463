"""Training of FG-Net: configuration, data splits, steps, the loop around them, and what a run leaves in its workdir."""
