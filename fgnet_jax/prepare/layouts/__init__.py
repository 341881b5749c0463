"""What lies in the folders that corpora's owners give out: labels, images and videos, found by their names."""
