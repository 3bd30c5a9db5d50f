"""The object-replicator: compares partitions of replicated policies with their other copies and pushes what those lack."""
