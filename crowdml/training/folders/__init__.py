"""Find the image files of a folder, check them, and read them into memory or while the network trains."""
