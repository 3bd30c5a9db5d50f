"""Buckets as web sites (spec s3.md 22).

`document` is what a bucket says of its site, `handlers` the operations on it, `routing` where a visitor is sent, `visit` what is answered
to one, on hosts below `website_domains`.
"""
