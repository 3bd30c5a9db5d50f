"""SQLite brokers shared by accounts and containers: schema, pending rows, merge. Never answers HTTP."""
