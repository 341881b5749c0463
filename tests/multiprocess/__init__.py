"""One process or several, one device or several: the same numbers."""
