"""The image operations of process.py and of service/: rules, decode, transform, encode.

Nothing is imported here, and Pillow only where it is used: a container starts for every batch.
"""
