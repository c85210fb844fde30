"""Items that are image files in a folder: find them, check them, and read them into memory or while training."""
