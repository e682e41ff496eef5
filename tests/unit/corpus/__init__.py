"""A corpus of small image files, each built by the test that needs it, with what it shows by its specification.

samples.py lists them; model.py says what a sample is; png.py, tiff.py and so on build them; readers.py reads files
without Pillow; judge.py does the operations in floats; operations.py compares; subject.py imports what is tested.
"""
