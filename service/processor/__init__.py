"""The processor: it changes the pixels of images."""
