"""Replication of account and container databases (database.md 14): the calls between nodes, whole files, the replicators' frame.

What the two kinds of databases do differently is in swift.account.replicator and swift.container.replicator.
"""
