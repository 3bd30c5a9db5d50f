"""The S3 API: S3 requests become native requests, and their answers S3's.

Strings of this room are text; they are WSGI strings (latin-1) only in environs, headers and native paths.
Spec: s3.md, whose part 1 is what the reference does and part 2 what clients of S3 expect beyond it.
"""
