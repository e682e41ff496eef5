"""Amazon's EC2: what the provider of that name is made of."""
