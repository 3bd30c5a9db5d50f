"""The object-reconstructor: makes the fragments that other nodes of erasure-coded policies lack, and gives back those that it has as a guest."""
