"""A container server that answers as scripted, over a real socket."""

from swift.core.concurrency import Event, sleep, spawn
from swift.engine.sockets import listen
from swift.wire.connection_pool import POOL
from swift.wire.server import Server


class Quiet:
    level = 50

    def __getattr__(self, name):
        return lambda *args, **kwargs: None


class ContainerServer:
    """`answers`: (status line, headers) for one request after the other, the last one for all further; `delay` in seconds."""

    def __init__(self, *answers, delay=0):
        self.answers = list(answers) or [("201 Created", [])]
        self.delay = delay
        self.requests = []
        self.answered = Event()
        sock = listen("127.0.0.1", 0)
        self.host = f"127.0.0.1:{sock.getsockname()[1]}"
        self.server = Server(sock, self, {}, Quiet())
        self.thread = spawn(self.server.run)

    def __call__(self, environ, start_response):
        headers = {
            key[5:].replace("_", "-").title(): value
            for key, value in environ.items()
            if key.startswith("HTTP_")
        }
        self.requests.append((environ["REQUEST_METHOD"], environ["PATH_INFO"], headers))
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if self.delay:
            sleep(self.delay)
        status, answer_headers = answer
        start_response(status, [("Content-Length", "0"), *answer_headers])
        return [b""]

    def close(self):
        POOL.clear()
        self.server.stop()
        self.thread.kill()
