"""Programs compiled for TPUs and GPUs that are not there: what must not silently get worse."""
