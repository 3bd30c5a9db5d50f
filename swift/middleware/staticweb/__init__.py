"""Filter `staticweb`: containers as web sites, for clients without credentials (spec middleware 4.17).

`filter` decides what is answered, `pages` makes listings of HTML.
"""

from swift.middleware.staticweb.filter import StaticWeb, filter_factory

__all__ = ["StaticWeb", "filter_factory"]
