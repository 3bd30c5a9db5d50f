"""Filter `bulk`: archives become objects, lists of names are deleted (spec middleware 4.8).

`filter` decides and answers, `extraction` and `deletion` do the work, `archive` reads an archive as it comes. Never here: the form of
summaries (`middleware.summary`), running things beside each other (`middleware.parallel`).
"""

from swift.middleware.bulk.filter import filter_factory

__all__ = ["filter_factory"]
