"""The network: pSp encoder, StyleGAN2 generator, Pyramid CNN interpreter, and FGNet that joins them."""
