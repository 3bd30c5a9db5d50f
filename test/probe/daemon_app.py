"""A daemon for tests of daemon life cycles: `python daemon_app.py CONF [once] ...`."""

import os
import sys
import time

from swift.core import concurrency

concurrency.patch()

from swift.run.daemon import Daemon, run_daemon_command  # noqa: E402


class Toy(Daemon):
    def __init__(self, conf, logger=None):
        super().__init__(conf, logger)
        int(conf.get("checked", 0))

    def note(self, *words):
        with open(self.conf["notes"], "a") as file:
            file.write(" ".join(map(str, words)) + "\n")

    def get_worker_args(self, once=False, **options):
        return [{"worker": n} for n in range(int(self.conf.get("toy_workers", 0)))]

    def is_healthy(self):
        return not os.path.exists(self.conf["notes"] + ".sick")

    def run_once(self, worker=None, **options):
        self.note("once", worker, options.get("devices"))
        if self.conf.get("fail"):
            raise RuntimeError("it went wrong")

    def run_forever(self, worker=None, **options):
        self.note("forever", worker, os.getpid(), self.conf.get("word"))
        while True:
            time.sleep(0.05)

    def post_multiprocess_run(self):
        self.note("post")


def add_options(parser):
    parser.add_option("-d", "--devices")


if __name__ == "__main__":
    sys.exit(run_daemon_command(sys.argv[1:], "toy", Toy, add_options))
