"""The files that `fab init` writes."""
