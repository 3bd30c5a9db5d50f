"""One request to one storage server: sent over a pooled connection, and once more where that turns out to be dead.

This is the one way in which requests are sent to storage servers, so also the place for whatever all of them shall carry one day.
What never lives here: which server is asked, and what its answer means.
"""

from __future__ import annotations

from swift.core import clock
from swift.telemetry.metric_table import TABLE
from swift.wire.client import (
    BackendConnection,
    BackendError,
    BackendResponse,
    BackendTimeout,
    StaleConnection,
)
from swift.wire.connection_pool import POOL

_SOON = 0.001  # seconds; for what has arrived, when the time is up


class BackendCall:
    """A request and the connection that it is on. All methods raise BackendError, and then the connection is closed.

    `path`: percent-quoted, with the query; `headers`: from `header_block`, they describe the `body`. Times are seconds: `timeout` is for
    sending, and for the answer's head from then on. Verbs between servers carry a timestamp that makes them repeatable; what is not
    repeatable goes over a connection known to be alive (`send_fresh`).
    """

    __slots__ = (
        "body",
        "conn",
        "conn_timeout",
        "deadline",
        "headers",
        "ip",
        "method",
        "path",
        "port",
        "timeout",
    )

    def __init__(
        self,
        ip: str,
        port: int,
        method: str,
        path: str,
        headers: bytes,
        body: bytes = b"",
        *,
        conn_timeout: float,
        timeout: float,
    ) -> None:
        self.ip = ip
        self.port = port
        self.method = method
        self.path = path
        self.headers = headers
        self.body = body
        self.conn_timeout = conn_timeout
        self.timeout = timeout
        self.conn: BackendConnection | None = None
        self.deadline = 0.0

    def send(self) -> None:
        """Send the request over an idle connection, or else a new one."""
        if not self.send_idle():
            self.send_fresh()

    def send_idle(self) -> bool:
        """Send the request if there is an idle connection that takes it; nothing is waited for but room in its buffer."""
        conn = self.conn = POOL.idle(self.ip, self.port)
        if conn is None:
            return False
        try:
            conn.send(self.method, self.path, self.headers, self.body, self.timeout)
        except StaleConnection:
            self.close()
            return False
        except BackendError:
            self.close()
            raise
        self.deadline = clock.monotonic() + self.timeout
        return True

    def send_fresh(self) -> None:
        """Send the request over a new connection."""
        conn = self.conn = POOL.fresh(self.ip, self.port, self.conn_timeout)
        try:
            conn.send(self.method, self.path, self.headers, self.body, self.timeout)
        except BackendError:
            self.close()
            raise
        self.deadline = clock.monotonic() + self.timeout

    def response(self, seconds: float | None = None, keep: bool = False) -> BackendResponse:
        """The answer's final head, waited for until the deadline, or else for `seconds`.

        `keep`: leave the connection open when the time is up, to be asked once more.
        """
        conn = self.conn
        assert conn is not None
        # Given seconds are for an answer to a body that has taken its time.
        since = self.deadline - self.timeout if seconds is None else clock.monotonic()
        while True:
            if seconds is None:
                left = self.deadline - clock.monotonic()
                if left < _SOON:
                    left = _SOON
            else:
                left = seconds
            try:
                return self._begun(conn.response(left), since)
            except StaleConnection:
                # Never so twice: a new connection is none that was idle.
                conn = self._send_again()
            except BackendError as error:
                if not (keep and isinstance(error, BackendTimeout)):
                    self.close()
                raise

    def arrived(self) -> BackendResponse | None:
        """The final head of an answer that has begun to arrive; None: the connection was dead, the request is on its way again."""
        assert self.conn is not None
        try:
            response = self.conn.response(max(self.deadline - clock.monotonic(), _SOON))
            return self._begun(response, self.deadline - self.timeout)
        except StaleConnection:
            self._send_again()
            return None
        except BackendError:
            self.close()
            raise

    def wait_continue(self) -> BackendResponse:
        """The next head, interim or final (`BackendConnection.wait_continue`), within the time limit."""
        conn = self.conn
        assert conn is not None
        since = clock.monotonic()
        while True:
            try:
                response = conn.wait_continue(self.timeout)
                return response if response.status < 200 else self._begun(response, since)
            except StaleConnection:
                conn = self._send_again()
            except BackendError:
                self.close()
                raise

    def answer(self) -> BackendResponse:
        """Send the request and wait for the final head of its answer."""
        try:
            self.send()
            return self.response()
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Drop the connection."""
        if self.conn is not None:
            self.conn.close()
            self.conn = None

    def _begun(self, response: BackendResponse, since: float) -> BackendResponse:
        """The final head of an answer has come: how long that took is counted."""
        seconds = clock.monotonic() - since
        TABLE.waited(self.ip, self.port, self.method, self.path, response.status, seconds)
        return response

    def _send_again(self) -> BackendConnection:
        self.close()
        self.send_fresh()
        assert self.conn is not None
        return self.conn
