"""Filter `s3token`: who signed an S3 request, asked of Keystone (spec s3.md 1.3, 3.8).

`options` reads the configuration, `keystone` asks, `identities` reads what it answers, `filter` speaks WSGI. Never here: what
somebody may do; that is keystoneauth's.
"""

from swift.s3.token.filter import S3Token, filter_factory

__all__ = ["S3Token", "filter_factory"]
