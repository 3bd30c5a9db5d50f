"""How the machine is worked with: threads for disks, descriptors, pipes, streams and sockets, locks, durable files.

Knows nothing of object storage; the words of the trade live in core.
"""
