"""The trade's words: timestamps, hashing, configuration, policies, names; green threads, time and chance.

What never lives here: what only one room needs, and anything that knows another room.
"""
