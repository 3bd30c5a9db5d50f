"""Where data lives: ring files, lookup and handoffs, builder, placement and movement.

What never lives here: the network, and what is stored.
"""
