"""The object-auditor: reads all that is stored on this node's devices, and has what is damaged moved out of the way."""
