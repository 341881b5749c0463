"""Input and output of images and videos: files, folders, cameras and arrays read frame by frame, and video written."""
