"""Which inputs go to which worker next."""
