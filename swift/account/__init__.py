"""Accounts: their databases, listings of containers, storage server and daemons.

What never lives here: what databases of accounts and containers have in common (`swift.db`), and who may use an account.
"""
