"""Faces in images and videos: detection, 68 landmarks, tracking, alignment and back-projection to the image."""
