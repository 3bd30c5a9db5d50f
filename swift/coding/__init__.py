"""Erasure codes: segments become fragments and fragments segments, by a library, and faster where what it does could be learned.

What never lives here: objects, policies, anything that knows another room.
"""
