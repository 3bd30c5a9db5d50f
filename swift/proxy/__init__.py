"""The front: which nodes are asked for what, what their answers mean together, and the roads of bodies to and from them.

What never lives here: files, databases, and features that a filter can add.
"""
