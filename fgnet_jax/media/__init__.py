"""What people hand in, pictures, folders, videos, cameras, arrays, and the faces in it, in order and as it comes."""
