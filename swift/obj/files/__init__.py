"""The object store that keeps each object in files of a directory of its own: the layout of the reference (object-disk 1 to 11)."""
