"""What comes home from the workers."""
