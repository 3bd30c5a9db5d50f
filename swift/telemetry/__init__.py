"""What the running processes tell about themselves: logs and where they go, access lines, metrics, recon files, and what must not be told.

What never lives here: decisions of any other room.
"""
