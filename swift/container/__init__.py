"""Containers: their databases, listings of objects, shard ranges, storage server and daemons.

What never lives here: what databases of accounts and containers have in common (`swift.db`), and access lists as they are enforced.
"""
