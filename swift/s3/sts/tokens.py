"""What a session token says, and its form (formats.md). Never here: whether a request may use it (`sessions`)."""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from typing import NamedTuple

from swift.s3.sts.keys import BadSeal, Key

LONGEST = 8000  # characters; what is longer fits no header


class BadToken(ValueError):
    """No token of ours."""


class Session(NamedTuple):
    """`access_key`: the temporary one; `expires`: seconds since the epoch; `name`, `role`: as they were asked for, "" for none;
    `policy`: the text of its policy, None where it may all that its parent may.

    `parent`: the access key that asked for it, with the signature of that request (`scope`, `string_to_sign`, `signature`): whoever
    knows the parent's secret looks at it each time, so a session ends with the key that it was asked for with. `provider`: of identities, who has
    vouched for the parent instead, "" where the parent has signed.
    """

    access_key: str
    expires: int
    name: str
    role: str
    policy: str | None
    parent: str
    scope: str
    string_to_sign: str
    signature: str
    provider: str = ""


def issue(key: Key, session: Session) -> str:
    fields = (
        list(session) if session.provider else list(session)[:-1]
    )  # as it was before there were providers
    data = json.dumps(fields, separators=(",", ":")).encode()
    return base64.urlsafe_b64encode(key.seal(data)).decode()


def opened(keys: Sequence[Key], token: str) -> tuple[Session, Key]:
    """(session, the key that has sealed its token). Raises BadToken."""
    if not token.isascii() or len(token) > LONGEST:
        raise BadToken("too long")
    try:
        sealed = base64.b64decode(token, altchars=b"-_", validate=True)
    except ValueError:
        raise BadToken("not base64") from None
    for key in keys:
        try:
            return Session(*json.loads(key.open(sealed))), key
        except BadSeal:
            continue
        except (ValueError, TypeError) as error:
            raise BadToken(str(error)) from None  # sealed by us, and not what we seal
    raise BadToken("of no key that there is")
