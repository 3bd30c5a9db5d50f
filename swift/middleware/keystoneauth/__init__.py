"""Filter `keystoneauth`: what identities of Keystone may do (spec middleware 4.15).

`identity` reads who asks from what the token filter left in the environ, `domains` keeps the domain of an account's project,
`authorization` decides, `filter` speaks WSGI. Never here: tokens. They are keystonemiddleware's, which stands further left.
"""

from swift.middleware.keystoneauth.filter import KeystoneAuth, filter_factory

__all__ = ["KeystoneAuth", "filter_factory"]
