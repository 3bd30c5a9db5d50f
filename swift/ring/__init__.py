"""Where data lives: ring files, lookup and handoffs, builder and placement. Never talks to the network."""
