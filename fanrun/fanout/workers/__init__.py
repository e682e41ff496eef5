"""The workers of a run: their pipelines, connections and signs of life."""
