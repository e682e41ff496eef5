"""What a fleet is, and how to reach its hosts."""
