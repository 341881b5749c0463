"""What the network computes in another way on GPUs: few kernels, each with one pass over its maps."""
