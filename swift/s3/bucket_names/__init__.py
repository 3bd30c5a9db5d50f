"""One name, one bucket in the whole cluster (`bucket_namespace = global`): whose a name is, and how it becomes somebody's.

`registry` holds the names and decides who gets one, `resolving` finds the account of a bucket that a request names. Without the option
nothing here is asked.
"""
