"""One run: inputs to workers, results to DST."""
