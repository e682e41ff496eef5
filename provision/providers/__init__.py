"""Where hosts come from: one module a provider, found by its name."""
