"""Where the fleet's registry is on the hub, and what images are called in it."""

from __future__ import annotations

PORT = 5000
"""The port that the fleet's members pull from."""
PUSH_PORT = 4999
"""The port that images are pushed to; it listens on loopback."""
REPOSITORY = "fanrun/image"
"""The name of all images in it."""
