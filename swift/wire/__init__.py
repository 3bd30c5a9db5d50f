"""HTTP/1.1 both ways: server loop, messages, ranges, pooled and direct clients.

What never lives here: what a request means.
"""
