"""The commands: what is asked for, who does it, and what a person reads afterwards; `bin/` only starts them.

What never lives here: the work itself, so that nobody has to import from here.
"""
