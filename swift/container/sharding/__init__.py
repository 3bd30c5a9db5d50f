"""Sharding: everything that changes databases when containers are split into shards, and shards are merged again (database.md 11.5, 20).

Lives here: the container-sharder and its steps. What shard ranges are, and how they merge, is in `container.shard_ranges`; a container's
files and states are in `container.sharded`. Never here: how clients see a sharded container.
"""
