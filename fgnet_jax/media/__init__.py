"""What people hand in, images, folders, videos, cameras, arrays, and the faces in it, in order and as it comes."""
