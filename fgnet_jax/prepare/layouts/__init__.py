"""Readers of corpora's folders in their owners' layouts: labels, images and videos, found by their names."""
