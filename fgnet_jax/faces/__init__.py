"""Faces in images and videos: detection, 68 landmarks, alignment and the way back, reading video."""
