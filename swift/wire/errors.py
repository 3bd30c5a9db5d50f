"""What can go wrong while a client's request body is read: exceptions only."""


class ClientError(Exception):
    """The body cannot be read to its end; the connection will be closed."""


class ClientDisconnected(ClientError):
    """The client closed or reset the connection before the end of the body (answered, if at all, with 499)."""


class ClientTimeout(ClientError):
    """Nothing arrived for client_timeout seconds (408)."""


class BadChunk(ClientError):
    """The chunked framing is broken (the reference answers 499 where the connection still can be written)."""
