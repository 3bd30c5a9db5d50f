"""Bucket policies and those of temporary credentials (spec s3.md 16, 28).

`document`: what a policy is, read strictly; `patterns`: its wildcards and variables; `conditions`: its operators; `evaluate`: what policies
say of a request, purely; `context`: what a request says for them; `actions`: what policies call an operation; `public`: whether everybody
is meant; `handlers`: the operations. Never here: what else decides (`access`).
"""
