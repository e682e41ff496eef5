"""The API: it decides what happens to an image, and has a processor do it."""
