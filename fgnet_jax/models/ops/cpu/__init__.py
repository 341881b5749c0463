"""What is there for CPUs alone: convolutions as matrix products, Winograd's method, XLA's options."""
