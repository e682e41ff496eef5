"""The API: it decides what is done to an image, and a processor does it."""
