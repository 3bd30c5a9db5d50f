"""Accounts: their broker, storage server and daemons."""
