"""What a run sends to its workers."""
