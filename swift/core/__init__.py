"""The trade's words: timestamps, hashing, configuration, policies, durable files. Imports nothing above it."""
