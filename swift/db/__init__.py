"""What account and container databases have in common: SQLite files, pending rows, merging, snapshots that are read, the storage server's frame.

What never lives here: what a row means to a client.
"""
