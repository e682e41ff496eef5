"""`fab serve`: the service's containers on a fleet."""
