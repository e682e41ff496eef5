"""The image operations of process.py and of service/: rules, decode, transform, encode.

For process.py also what brings them to the files of a folder: inputs, files, pool.

Nothing is imported here, and Pillow only where it is used: a container starts for every batch.
"""
