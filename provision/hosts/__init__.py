"""Idempotent steps on a host, and under files/ what they write and run there."""
