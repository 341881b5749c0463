"""What lies in the folders that corpora's owners give out: labels, pictures and videos, found by their names."""
