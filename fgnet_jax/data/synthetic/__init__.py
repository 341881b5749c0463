"""Synthetic faces and the corpora made of them."""
