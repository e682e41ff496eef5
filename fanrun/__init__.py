"""The control side: what people type."""
