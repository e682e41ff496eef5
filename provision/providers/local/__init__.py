"""Hosts that are containers on this machine."""
