"""The version of Fanrun."""

RELEASE = "0.1.0"
"""As in pyproject.toml."""
