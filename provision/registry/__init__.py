"""Container images: what they are built from, and how."""
