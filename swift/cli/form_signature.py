"""swift-form-signature: the signature of a form with which a browser may upload (operations.md 15), and such a form."""

from __future__ import annotations

import hashlib
import hmac
import html
import os
import sys

from swift.core import clock
from swift.core.names import split_path

MAX_INPUTS = 1000  # that are printed
USAGE = """Syntax: {command} <path> <redirect> <max_file_size> <max_file_count> <seconds> <key>

Where:
  <path>            The prefix to use for form uploaded objects. For example:
                    /v1/account/container/object_prefix_ would ensure all form
                    uploads have that path prepended to the browser-given file name.
  <redirect>        The URL to redirect the browser to after the uploads have
                    completed; may be empty.
  <max_file_size>   The maximum file size, in bytes, of each upload.
  <max_file_count>  The maximum number of uploads per form.
  <seconds>         The number of seconds from now to allow the form post to begin.
  <key>             The X-Account-Meta-Temp-URL-Key for the account.

Example:
  {command} /v1/account/container/prefix_ https://example.org/done 1073741824 5 3600 secret
"""


def main(argv: list[str] | None = None) -> int:
    """Run the command with sys.argv; returns the exit status."""
    words = sys.argv[1:] if argv is None else argv
    if {"-h", "--help"} & set(words) or len(words) != 6:
        print(USAGE.format(command=os.path.basename(sys.argv[0])), end="")
        return 0 if {"-h", "--help"} & set(words) else 1
    path, redirect, size, count, seconds, key = words
    numbers = [_number(text, least) for text, least in ((size, 0), (count, 1), (seconds, 1))]
    for number, text in zip(
        numbers,
        (
            "Please use a <max_file_size> value greater than or equal to 0.",
            "Please use a positive <max_file_count> value.",
            "Please use a positive <seconds> value.",
        ),
        strict=True,
    ):
        if number is None:
            print(text)
            return 1
    try:
        split_path(path, 3, 4, True)
    except ValueError:
        print("<path> must point to a container at least.")
        print("For example: /v1/account/container")
        print("         Or: /v1/account/container/object_prefix")
        return 1
    max_size, max_count, lifetime = (number or 0 for number in numbers)
    expires = int(clock.time()) + lifetime
    digest = signature(path, redirect, max_size, max_count, expires, key)
    print(f"  Expires: {expires}")
    print(f"Signature: {digest}")
    print()
    print(_form(path, redirect, max_size, max_count, expires, digest))
    return 0


def _number(text: str, least: int) -> int | None:
    try:
        number = int(text)
    except ValueError:
        return None
    return number if number >= least else None


def signature(path: str, redirect: str, size: int, count: int, expires: int, key: str) -> str:
    """Hexadecimal HMAC-SHA1. `expires`: seconds since the epoch."""
    text = f"{path}\n{redirect}\n{size}\n{count}\n{expires}"
    return hmac.new(key.encode(), text.encode(), hashlib.sha1).hexdigest()


def _form(path: str, redirect: str, size: int, count: int, expires: int, digest: str) -> str:
    fields = [("redirect", redirect)] if redirect else []
    fields += [
        ("max_file_size", str(size)),
        ("max_file_count", str(count)),
        ("expires", str(expires)),
        ("signature", digest),
    ]
    lines = [
        "Sample form:",
        "",
        "NOTE: the form's \"action\" attribute lacks the host of the Swift cluster's URL, such as",
        "https://swift.example.org, and the rest of the page is missing.",
        f'<form action="{html.escape(path)}" method="POST" enctype="multipart/form-data">',
        *(f'  <input type="hidden" name="{name}" value="{html.escape(value)}" />' for name, value in fields),
        f"  <!-- This signature allows for at most {count} files, -->",
        "  <!-- but it may also have any smaller number. -->",
        *(f'  <input type="file" name="file{number}" /><br />' for number in range(min(count, MAX_INPUTS))),
        '  <input type="submit" />',
        "</form>",
    ]
    return "\n".join(lines)
