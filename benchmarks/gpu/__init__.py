"""`python -m benchmarks gpu`: one prepared measurement of a GPU, of under eight minutes, that needs nothing installed.

It runs on a borrowed machine with JAX, Flax, Optax, Orbax, NumPy and PyTorch, from a checkout: without TFDS, Grain,
ml_collections, OpenCV and Pillow, and without a network.
"""
