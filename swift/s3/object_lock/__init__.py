"""Object lock: objects that nobody may remove or replace before their time (spec s3.md 18).

`document` (a bucket's configuration: read, checked, written), `handlers` (operations), `sent` (what requests say of what they make or
remove), `native` (the filter that holds it on the native API). What a lock is says `swift.core.object_lock`; object servers enforce it.
"""
