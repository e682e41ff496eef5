"""One run: a directory in, a directory out."""
