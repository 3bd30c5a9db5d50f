"""Event notifications of buckets: what a bucket asks to be told, events on their way into the queue, and from there to their targets.

Targets are the operator's: a bucket only names them. Nothing here waits for one while a client waits.
"""
