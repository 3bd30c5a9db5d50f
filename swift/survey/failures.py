"""Why a server gave no answer, in the words that all use who read answers. Never here: asking."""

from __future__ import annotations

import errno
import os

from swift.survey.answers import Answer, Host
from swift.wire import direct
from swift.wire.client import BackendTimeout


def failed(host: Host, question: str, error: direct.DirectError) -> tuple[Answer, bool]:
    """(the answer, whether the host was silent). Texts are the reference's, which programs read."""
    if error.http_status is not None:
        text = f"HTTP Error {error.http_status}: {error.http_reason}"
        return Answer(host, question, error=text, status=error.http_status), False
    cause = error.__cause__
    if isinstance(cause, BackendTimeout):
        return Answer(host, question, error="timed out"), True
    reason = cause.__cause__ if cause is not None else None
    if isinstance(reason, TimeoutError):
        return Answer(host, question, error="<urlopen error timed out>"), False
    if isinstance(reason, OSError) and reason.errno:
        name = errno.errorcode.get(reason.errno, os.strerror(reason.errno))
        return Answer(host, question, error=f"<urlopen error [Errno {reason.errno}] {name}>"), False
    return Answer(host, question, error=error.http_reason.rpartition(f":{host.port}: ")[2]), False
