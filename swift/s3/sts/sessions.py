"""Requests with temporary credentials: is the token one of ours, does it count still, is the signature made with its secret?

Never here: what a session may do (`access`).
"""

from __future__ import annotations

from swift.core import clock
from swift.s3.errors import S3Error
from swift.s3.options import Options
from swift.s3.signature import Credential, unsigned, v4
from swift.s3.sts import tokens
from swift.s3.sts.tokens import BadToken, Session


def session_of(credential: Credential, options: Options) -> Session | None:
    """The session of a credential with a token, None for one without. The auth filter is asked about its parent from now on.

    Raises S3Error if the token is none, or counts no more, or the signature is not made with its secret.
    """
    token = credential.token
    if token is None:
        return None
    try:
        session, key = tokens.opened(options.sts_keys, token)
    except BadToken as error:
        raise S3Error("InvalidToken", reason="token") from error
    if session.access_key != credential.access_key:
        raise S3Error("InvalidToken", reason="token_of_another_key")
    if session.expires <= clock.time():
        raise S3Error("ExpiredToken")
    if not credential.check_signature(key.secret_of(session.access_key)):
        raise credential.mismatch()
    if session.provider:
        identities = options.web_identities
        if identities is None or not identities.vouches(session.provider, session.parent):
            raise S3Error("InvalidToken", reason="provider")
        credential.of_session(unsigned(session.parent))  # a provider of identities vouches for him
        return session
    signed = session.string_to_sign.encode("utf-8", "surrogatepass")
    credential.of_session(v4.restored(session.parent, session.scope, signed, session.signature))
    return session
