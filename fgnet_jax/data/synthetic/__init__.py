"""Synthetic faces and the corpora of them."""
