"""Every version of an object kept under a hidden name, and a link to the one that is current (spec middleware 4.24).

`names` says what versions are called, `context` what is known of a container; `containers`, `listing`, `objects` and `by_id` hold what a
request can be about, `filter` the choice among them.
"""
