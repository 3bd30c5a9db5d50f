"""One client connection: reads requests one after the other, calls the application, sends what it answers.

Here is the whole order of events of HTTP/1.1 on the server's side: when a connection is kept, when `100 Continue` may go out,
what happens to a body that nobody read. Answers are in answering.py, parsing in parser.py, request bodies in input.py, accepting in
server.py. Spec: proxy-and-backend.md 21.
"""

import sys
from typing import Any
from urllib.parse import quote

from swift.core import clock
from swift.core.concurrency import Timeout, sleep
from swift.engine.threads import DeviceBusy
from swift.telemetry.served import DoneCallback, Served
from swift.wire.admission import Admission, Pass, Refused
from swift.wire.answering import DISCARD_LIMIT, UNTIL_CLOSE, Answering
from swift.wire.errors import (
    BadChunk,
    ClientDisconnected,
    ClientError,
    ClientTimeout,
    ResponseBroken,
)
from swift.wire.input import NO_BODY, ChunkedBody, CountedBody, RequestBody
from swift.wire.parser import BadHead, parse_head, refuse_unfinished
from swift.wire.proxy_protocol import MAX_LINE as MAX_PROXY_LINE
from swift.wire.proxy_protocol import apply_proxy_line
from swift.wire.refusal import BUSY_BODY, BUSY_STATUS, busy_headers, refusal
from swift.wire.serving import HEAD, Serving
from swift.wire.status import status_line

# Most heads, and most small PUTs with their head, arrive whole in one read of that size.
HEAD_READ = 16384
# After a refused upload the client is listened to for so long, so that it reads the answer instead of a reset.
LINGER_SECONDS = 10.0
LINGER_IDLE_SECONDS = 2.0
# A connection whose request was refused for load is not listened to for so long.
REFUSAL_PAUSE = 1.0
# Of answers whose reason is for the log only.
_WORDS = {500: b"Internal server error.\n", 503: b"Service unavailable.\n"}


class Connection(Answering):
    """One accepted connection and the request that is in hand."""

    __slots__ = ("base",)

    def __init__(self, server: Serving, stream: Any, base: dict[str, Any]) -> None:
        super().__init__(server, stream)
        self.base = base

    # --- requests

    def run(self) -> None:
        """Serve requests until the connection is to be closed. Raises OSError and TimeoutError of the socket."""
        server = self.server
        limits = server.limits
        try:
            if server.require_proxy_protocol:
                self._read_proxy_line()
            while True:
                buffer = self.buffer
                end = buffer.find(b"\r\n\r\n") if buffer else -1
                if end < 0 or buffer[:1] == b"\r":
                    end = self._read_head()
                    if end < 0:
                        return
                    buffer = self.buffer
                else:
                    # The next of pipelined requests: others first.
                    sleep(0)
                end += 4
                if len(buffer) == end:
                    self.buffer = b""
                    head = buffer
                else:
                    self.buffer = buffer[end:]
                    head = buffer[:end]
                environ = parse_head(head, self.base, limits)
                if server.keeps_head:
                    environ[HEAD] = head
                if not self._serve(environ):
                    return
        except BadHead as error:
            self._refuse(error)

    def _read_head(self) -> int:
        """Read until the end of a head is in the buffer and return its offset; -1 when there is no further request."""
        stream, server = self.stream, self.server
        buffer = self.buffer
        if not buffer:
            # Nearly always: nothing is there, and then all of it.
            if server.closing_idle:
                return -1
            buffer = self._next_request()
            end = buffer.find(b"\r\n\r\n")
            if end > 0 and buffer[0] != 13:
                self.buffer = buffer
                stream.set_timeout(server.client_timeout)
                return end
            if not buffer:
                return -1
        blank_lines = scanned = 0
        while True:
            while buffer[:2] == b"\r\n":
                # RFC 9112 2.2: an empty line before a request is to be ignored. Not any number of them.
                blank_lines += 1
                if blank_lines > 4:
                    raise BadHead(400, "Bad request syntax ('')")
                buffer = buffer[2:]
                scanned = 0
            end = buffer.find(b"\r\n\r\n", max(scanned - 3, 0)) if buffer else -1
            if end >= 0:
                server.unfinished.pop(self, None)
                self.buffer = buffer
                stream.set_timeout(server.client_timeout)
                return end
            if not buffer:
                if server.closing_idle:
                    return -1
                data = self._next_request()
            else:
                refuse_unfinished(buffer, server.limits, scanned)
                if not scanned:
                    # One limit for the whole head from here on, however slowly it drips.
                    stream.set_deadline(server.client_timeout)
                scanned = len(buffer)
                server.unfinished.setdefault(self, clock.monotonic())
                try:
                    data = stream.recv(HEAD_READ)
                except TimeoutError:
                    raise BadHead(408, "Request Timeout", "The head took too long.")
            if not data:
                return -1
            buffer = buffer + data if buffer else data

    def _next_request(self) -> bytes:
        """What comes first after a pause; b'' at the end of the connection."""
        stream, server = self.stream, self.server
        stream.set_timeout(server.keepalive_timeout)
        server.idle[self] = clock.monotonic()
        data: bytes = stream.recv(HEAD_READ)
        server.idle.pop(self, None)
        return data

    def _read_proxy_line(self) -> None:
        self.stream.set_deadline(self.server.client_timeout)
        while True:
            end = self.buffer.find(b"\r\n", 0, MAX_PROXY_LINE + 2)
            if end >= 0:
                break
            data = b"" if len(self.buffer) > MAX_PROXY_LINE else self.stream.recv(HEAD_READ)
            if not data:
                raise BadHead(
                    400, f"Invalid PROXY line {ascii(self.buffer[:MAX_PROXY_LINE].decode('latin-1'))}"
                )
            self.buffer += data
        line, self.buffer = self.buffer[:end], self.buffer[end + 2 :]
        apply_proxy_line(line, self.base)

    def _serve(self, environ: dict[str, Any]) -> bool:
        """Answer one request; returns True if the connection is kept."""
        start = clock.time()
        server = self.server
        self.status = None
        self.head_sent = False
        self.sent = 0
        if "HTTP_CONNECTION" not in environ and environ["SERVER_PROTOCOL"] == "HTTP/1.1":
            self.close_after = not server.keepalive
        else:
            self.close_after = self._wants_close(environ)
        if "CONTENT_LENGTH" in environ or "HTTP_TRANSFER_ENCODING" in environ:
            body = self._request_body(environ)
            if not self._is_all_here(body):
                server.uploads[self] = clock.monotonic(), body
        else:
            body = NO_BODY
        environ["wsgi.input"] = body
        callbacks: list[DoneCallback] = []
        environ["swift.on_response_done"] = callbacks
        error: BaseException | None = None
        place = None
        try:
            requests = server.requests
            if requests is not None and environ["PATH_INFO"] not in server.never_queued:
                place = (
                    requests.enter()
                    if body is NO_BODY and requests.taken < requests.places
                    else self._enter(requests, body)
                )
            try:
                result = server.app(environ, self.start_response)
            finally:
                if place is not None:
                    # What is left is sending, at the client's pace.
                    place.leave()
            try:
                self._respond(environ, body, result)
            finally:
                close = getattr(result, "close", None)
                if close is not None:
                    close()
        except Refused as refused:
            return self._refuse_for_load(environ, body, refused.retry_after, start)
        except (Exception, Timeout) as caught:
            error = caught
            self.close_after = True
            self._failed(environ, caught)
        if body is not NO_BODY:
            server.uploads.pop(self, None)
        if callbacks or server.on_done is not None:
            self._done(environ, body, error, start)
        is_whole = error is None
        # Or the error, its traceback and we would keep each other, and all buffers on its way, until a search for garbage.
        error = None
        if not body.done:
            self._leave(body)
        elif self.length == UNTIL_CLOSE and is_whole:
            self.stream.shutdown_write()
        return not self.close_after

    def _enter(self, requests: Admission, body: RequestBody) -> Pass:
        """A place among the requests that are worked on. Raises Refused."""
        # A body that is still on its way comes at the client's pace: how long it takes says nothing of the work.
        all_here = self._is_all_here(body)
        must_wait = requests.taken >= requests.places
        place = requests.enter(all_here)
        if must_wait and self.stream.gone:
            # Most likely the client has given up waiting: then the work would be for nobody.
            place.leave()
            raise Refused(1)
        return place

    def _is_all_here(self, body: RequestBody) -> bool:
        return body.done or body.remaining is not None and body.remaining <= len(self.buffer)

    def _refuse_for_load(
        self, environ: dict[str, Any], body: RequestBody, retry_after: int, start: float
    ) -> bool:
        """Answer 503; returns True if the connection is kept."""
        server = self.server
        server.note_refusal()
        self.status = BUSY_STATUS
        self.headers = busy_headers(retry_after, server.trans_id_suffix)
        error = None
        try:
            self._respond_bytes(environ, body, BUSY_BODY)
        except ClientError as caught:
            error = caught
            self.close_after = True
        self._done(environ, body, error, start)
        if not body.done:
            self._leave(body)
        if not self.close_after:
            # Who comes back at once, in spite of Retry-After, shall not take the time of those who were let in.
            server.idle[self] = clock.monotonic()
            sleep(REFUSAL_PAUSE)
            server.idle.pop(self, None)
        return not self.close_after

    def turn_away(self, retry_after: int) -> None:
        """Say 503 to a client for whose connection there is no place. Raises OSError and TimeoutError of the socket."""
        stream, server = self.stream, self.server
        # Most clients look for an answer only when their request is out.
        begin = stream.recv(HEAD_READ)
        lines = "".join(
            f"{name}: {value}\r\n" for name, value in busy_headers(retry_after, server.trans_id_suffix)
        )
        head = f"HTTP/1.1 {BUSY_STATUS}\r\n{lines}{server.date_line()}Connection: close\r\n\r\n".encode(
            "latin-1"
        )
        stream.sendall(head if begin.startswith(b"HEAD ") else head + BUSY_BODY)
        self._linger()

    def _wants_close(self, environ: dict[str, Any]) -> bool:
        connection = environ.get("HTTP_CONNECTION")
        if environ["SERVER_PROTOCOL"] == "HTTP/1.1":
            if connection is None or connection == "keep-alive":
                return not self.server.keepalive
            return not self.server.keepalive or "close" in _tokens(connection)
        if connection is None or environ["SERVER_PROTOCOL"] != "HTTP/1.0":
            return True
        return not self.server.keepalive or "keep-alive" not in _tokens(connection)

    def _request_body(self, environ: dict[str, Any]) -> RequestBody:
        length = environ.get("CONTENT_LENGTH")
        if length is not None:
            if length == "0":
                return NO_BODY
            size = int(length)
            return CountedBody(self, size, _expects_continue(environ)) if size else NO_BODY
        if "HTTP_TRANSFER_ENCODING" in environ:
            return ChunkedBody(self, _expects_continue(environ))
        return NO_BODY

    # --- when things go wrong

    def _refuse(self, error: BadHead) -> None:
        """Answer a head that could not be accepted; the connection is closed behind it."""
        answer = refusal(error, self.server.date_line(), self.server.trans_id_suffix)
        self.stream.set_timeout(LINGER_IDLE_SECONDS)
        self.stream.sendall(answer)
        self._linger()

    def _failed(self, environ: dict[str, Any], error: BaseException) -> None:
        """The application raised or the connection broke: log, and answer if that is still possible."""
        logger = self.server.logger
        where = f"{environ['REQUEST_METHOD']} {quote(environ['RAW_PATH_INFO'][:1024])}"
        if isinstance(error, ClientDisconnected):
            status = 499
        elif isinstance(error, ClientTimeout):
            status = 408
        elif isinstance(error, BadChunk):
            status = 400
        elif isinstance(error, ResponseBroken):
            status = 503  # who asks again may well get it
            logger.error("%s: the response ended early: %s", where, error)
        elif self.head_sent and isinstance(error, (DeviceBusy, OSError)):
            # a disk that broke or hangs behind the head; before it the application has a word for it
            status = 503
            logger.error("%s: the response ended early: %s", where, error)
        else:
            status = 500
            logger.error("%s: unhandled error", where, exc_info=error)
        if self.head_sent:
            return
        self.status = status_line(status)
        self.headers = []
        if status == 499:
            return
        data = _WORDS.get(status) or f"{error}.\n".encode()
        self.headers = [("Content-Type", "text/plain"), ("Content-Length", str(len(data)))]
        try:
            head = self._head(environ, NO_BODY, None)
            self._send(head if self.length is None else head + data)
            self.sent = 0 if self.length is None else len(data)
        except ClientError:
            return

    def _done(
        self, environ: dict[str, Any], body: RequestBody, error: BaseException | None, start: float
    ) -> None:
        status = int(self.status[:3]) if self.status else 500
        served = Served(environ, status, self.headers, self.sent, body.received, error, start, clock.time())
        # Taken out: what is called back knows the environ, and would be garbage that only a search finds.
        callbacks = environ.pop("swift.on_response_done")
        if self.server.on_done is not None:
            callbacks = (*callbacks, self.server.on_done)
        for callback in callbacks:
            try:
                callback(served)
            except Exception:
                self.server.logger.exception("error in a completion callback")

    def _leave(self, body: RequestBody) -> None:
        """The response is out and there is request body left: drop it, or the connection."""
        if not self.close_after:
            try:
                if body.discard(DISCARD_LIMIT):
                    return
            except ClientError:
                pass
            self.close_after = True
        self._linger()

    def _linger(self) -> None:
        """Read and drop what the client still sends, for a while: closing at once would reset the connection and could take
        the answer with it."""
        stream = self.stream
        end = clock.time() + LINGER_SECONDS
        try:
            stream.shutdown_write()
            stream.set_timeout(LINGER_IDLE_SECONDS)
            while clock.time() < end and not self.server.draining:
                if not stream.recv(65536):
                    return
        except OSError:
            return


def _tokens(header: str) -> list[str]:
    return [token.strip() for token in header.lower().split(",")]


def _expects_continue(environ: dict[str, Any]) -> bool:
    expect = environ.get("HTTP_EXPECT")
    return (
        expect is not None and expect.lower() == "100-continue" and environ["SERVER_PROTOCOL"] == "HTTP/1.1"
    )


def base_environ(remote: Any, local: Any, scheme: str) -> dict[str, Any]:
    """What is the same in every request of a connection."""
    return {
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": scheme,
        "wsgi.errors": sys.stderr,
        "wsgi.multithread": True,
        "wsgi.multiprocess": False,
        "wsgi.run_once": False,
        "GATEWAY_INTERFACE": "CGI/1.1",
        "SERVER_NAME": local[0],
        "SERVER_PORT": str(local[1]),
        "REMOTE_ADDR": remote[0],
        "REMOTE_PORT": str(remote[1]),
        "SCRIPT_NAME": "",
        "CONTENT_TYPE": "",
    }
