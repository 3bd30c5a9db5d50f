"""Erasure codes as mathematics: what they make of bytes, learned from a library and carried out faster than it does.

What never lives here: objects, policies, anything that knows another room.
"""
