"""A client and a load generator; not part of the service's image."""
