"""Hosts that are instances of Amazon's EC2."""
