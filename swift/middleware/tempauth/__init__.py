"""Filter `tempauth`: users in the configuration file, tokens, and authorization (spec middleware 4.14).

`users` reads the configuration, `s3_keys` the file with keys of S3's own, `tokens` issues and recognises tokens, `authorization` decides, `filter` speaks HTTP.
"""

from swift.middleware.tempauth.filter import TempAuth, filter_factory

__all__ = ["TempAuth", "filter_factory"]
