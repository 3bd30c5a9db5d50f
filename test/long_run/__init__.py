"""A cluster that is used and broken at the same time, for as long as wanted, and then has to be whole.

    python -m test.long_run --minutes 20 --seed 7

runs rounds: clients write, overwrite, delete, POST, read and list through several proxies, each answer noted, while faults come
and go; then the faults end, the daemons do their work, and all is compared: each acknowledged write is readable with its right
content, nothing deleted is back, the replicas are the same byte for byte, listings and account counters are those of the objects.
What clients do and which faults come when follows from the seed, which is printed; how the machine interleaves them does not.

| module | gives |
|---|---|
| `history` | what may be read of a key, by the outcomes that its clients have seen. No network, no clock |
| `schedule` | what clients do and which faults come, from a seed. No network, no clock |
| `machines` | `Machines`: the cluster, its nodes in namespaces of their own, on disks of their own, as far as this machine allows |
| `faults` | how each fault begins and ends |
| `clients` | threads that do what the schedule says and note the outcome |
| `replicas` | what is on the disks and in the databases once all is quiet, compared |
| `leftovers` | which files that count for nothing may lie about. Names only |
| `__main__` | the rounds, and the report |
"""
