"""Requests for objects of AUTH_test/c with keys set: those of the account are `of account` and `second`, the container's `of container`."""

import hmac
import urllib.parse

from swift.middleware.info.forms import (
    account_info_from_headers,
    container_info_from_headers,
    usable_account_info,
    usable_container_info,
)

EXPIRES = 1900000000
ACCOUNT_KEYS = {"X-Account-Meta-Temp-Url-Key": "of account", "X-Account-Meta-Temp-Url-Key-2": "second"}
CONTAINER_KEYS = {"X-Container-Meta-Temp-Url-Key": "of container"}


def infos(account=ACCOUNT_KEYS, container=CONTAINER_KEYS):
    """What is known already, so that nobody has to be asked."""
    known = usable_account_info(account_info_from_headers(204, account.items()))
    of_container = usable_container_info(container_info_from_headers(204, container.items()))
    empty = usable_container_info(container_info_from_headers(404, ()))
    return {
        "account/AUTH_test": known,
        "container/AUTH_test/c": of_container,
        "container/AUTH_test/d": empty,
        "account/AUTH_other": usable_account_info(account_info_from_headers(404, ())),
    }


def sign(text, key="of account", digest="sha256"):
    return hmac.new(key.encode(), text.encode(), digest).hexdigest()


def query(
    *,
    sig=None,
    method="GET",
    path="/v1/AUTH_test/c/o",
    expires=EXPIRES,
    key="of account",
    digest="sha256",
    prefix=None,
    ip=None,
    **more,
):
    """A query that signs for the decoded `path`."""
    signed = path if prefix is None else f"prefix:{path.rsplit('/', 1)[0]}/{prefix}"
    if sig is None:
        sig = sign(f"ip={ip}\n" * bool(ip) + f"{method}\n{expires}\n{signed}", key, digest)
    fields = {
        "temp_url_sig": sig,
        "temp_url_expires": expires,
        "temp_url_prefix": prefix,
        "temp_url_ip_range": ip,
        **more,
    }
    return urllib.parse.urlencode({name: value for name, value in fields.items() if value is not None})
