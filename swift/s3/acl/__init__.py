"""Access control lists of buckets and objects: S3's own (`s3_acl` on), and canned ones as native container ACLs (off).

`forms`: what an ACL is and whom it lets; `native`: the handlers where the native ACLs count; `own`: those where S3's do; `handlers`: which
of both. Never here: what an operation needs (`access`).
"""
