"""What can go wrong while bodies are on their way: exceptions only."""


class ClientError(Exception):
    """The body cannot be read to its end; the connection will be closed."""


class ClientDisconnected(ClientError):
    """The client closed or reset the connection before the end of the body (answered, if at all, with 499)."""


class ClientTimeout(ClientError):
    """Nothing arrived for client_timeout seconds (408)."""


class BadChunk(ClientError):
    """The chunked framing is broken (the reference answers 499 where the connection still can be written)."""


class ResponseBroken(Exception):
    """A response body cannot be brought to its end, for a reason that whoever raises it understands.

    The connection is closed so that the client notices; the log gets one line instead of a traceback.
    """


class ResponseTooShort(ResponseBroken):
    """The application gave fewer bytes than it announced."""
