"""Pipeline filters: one feature, one file or package.

What never lives here: backend requests and where data is; a filter asks the pipeline below it.
"""
