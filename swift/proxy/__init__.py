"""The front: routing, quorums, object paths, info cache, affinity and error limiting."""
