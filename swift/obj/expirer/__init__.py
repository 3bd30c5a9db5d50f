"""The object-expirer: deletes objects whose time has come, and those that were queued for deletion."""
