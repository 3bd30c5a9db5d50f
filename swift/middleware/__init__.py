"""Pipeline filters: one feature, one file."""
