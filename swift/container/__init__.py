"""Containers: their broker, listings, storage server and daemons."""
