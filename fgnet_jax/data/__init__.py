"""Corpora as training and evaluation read them: prepared datasets, folds, and batches of faces."""
