"""Machines: from nothing to "ready to run a container"."""
