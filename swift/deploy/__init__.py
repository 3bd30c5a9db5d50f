"""From one description of a cluster to what each of its machines has in /etc/swift, and the way there.

`description` reads and judges the file; `rings`, `configs` and `services` say what follows from it; `state` and `tree` keep it;
`nodes` and `receiver` bring it to machines. What never lives here: serving, and the command line (swift/cli/cluster_command.py).
"""
