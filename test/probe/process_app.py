"""Small WSGI applications for tests of process life cycles."""

import os
import time


def app_factory(global_conf, **local_conf):
    conf = {**global_conf, **local_conf}
    if conf.get("refuse"):
        raise ValueError("a bad value")

    def app(environ, start_response):
        path = environ["PATH_INFO"]
        if path == "/slow":
            with open(os.path.join(conf["swift_dir"], "slow"), "w"):
                pass
            time.sleep(1.0)
        if path == "/die":
            os._exit(9)
        body = f"{os.getpid()} {os.getppid()} {conf.get('generation', '')} {os.getuid()}".encode()
        start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", str(len(body)))])
        return [body]

    return app
