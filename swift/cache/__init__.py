"""What may be forgotten: the memcached ring client and the in-process cache with the same face.

What never lives here: the truth about anything, and what the keys mean.
"""
