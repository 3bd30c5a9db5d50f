"""How a cluster is: what its servers and rings tell becomes one document, and that one judgement, for commands and the console alike.

Asking is the business of who wants to know: a command asks from outside, a proxy's console from inside.
"""
