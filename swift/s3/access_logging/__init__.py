"""Server access logs: lines of a bucket's requests, delivered as objects into a bucket that its owner names (spec s3.md 23)."""
