"""The network: pSp encoder, StyleGAN2 generator, Pyramid CNN interpreter, FGNet that joins them, and their weights."""
