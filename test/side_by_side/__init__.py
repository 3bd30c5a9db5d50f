"""The same requests to the reference and to this store, one after the other, and what differs in the answers.

`table` is what a feature's list of requests is made of, `features` the lists, `sides` the two clusters, `sending` a request as bytes,
`comparing` what counts as different, `running` a list from its beginning to its end. See CONTRIBUTING.md.
"""
