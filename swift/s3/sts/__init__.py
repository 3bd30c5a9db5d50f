"""Temporary credentials (spec s3.md 28): handed out by AssumeRole and GetSessionToken, recognised in requests of S3.

Nothing is stored: all of a session is in its token, which only the proxies can read. `keys` seals, `tokens` are what is sealed, `sessions`
looks at those that requests bring, `service` answers the requests for them.
"""
