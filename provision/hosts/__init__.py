"""Steps that set up a host, each one repeatable."""
