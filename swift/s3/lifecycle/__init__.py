"""Lifecycle of objects: rules by which a bucket's objects, versions and uploads go (spec s3.md 17).

`document` is the configuration, `rules` what it says of an object, `handlers` the operations and headers, `daemon` carries it out.
"""
