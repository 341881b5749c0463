"""Sources, their frames, the faces in them."""
