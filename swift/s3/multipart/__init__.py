"""Multipart uploads (spec s3.md 6.5, 7.5): `handlers` for the table of operations, and what others need to know of parts."""
