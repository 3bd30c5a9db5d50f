"""Objects: what a store of them is, the store of files, the storage server and its daemons."""
