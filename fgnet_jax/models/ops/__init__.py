"""Array operations that the models are built from."""
