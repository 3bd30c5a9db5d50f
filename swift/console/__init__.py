"""The console in the browser: pages that a proxy serves, and what recon tells of the cluster for those who run it.

What lives here: the filter, its files (`static/`, plain modules that no build step touches) and the questions to the storage nodes'
recon. What never does: any other road to the cluster's inside; whatever a page shows of accounts, containers and objects it asks the
proxy for by the public API, with the token of whoever looks at it.
"""
