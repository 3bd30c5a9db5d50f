"""The relinker: brings the objects of a node's devices to where a changed partition power has them."""
