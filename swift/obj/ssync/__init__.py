"""SSYNC: one node tells another what it has of a partition, and sends it what that one lacks (object-disk 17)."""
