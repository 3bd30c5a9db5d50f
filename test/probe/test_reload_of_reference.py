"""A server of the reference is replaced by ours and back, in place, while clients ask."""

import os
import signal
import subprocess
import sys
import time

import pytest
from servers import HERE, ROOT, Load, Server, wait_until

REFERENCE_BIN = os.environ.get("REFERENCE_BIN", "")

REFERENCE = f"""#!{REFERENCE_BIN}/python
import sys
sys.path.insert(0, {str(HERE)!r})
with open({REFERENCE_BIN + "/swift-proxy-server"!r}) as command:
    exec(command.read())
"""
OURS = f"""#!{sys.executable}
import sys
sys.path[:0] = [{str(ROOT)!r}, {str(HERE)!r}]
from swift.cli.server import main
sys.exit(main("proxy-server"))
"""

pytestmark = [
    pytest.mark.reference,
    pytest.mark.skipif(not REFERENCE_BIN, reason="REFERENCE_BIN names no reference implementation"),
]


class Replaceable(Server):
    def install(self, text, generation):
        self.write_conf(generation=generation)
        path = self.directory / "swift-proxy-server"
        (self.directory / "new").write_text(text)
        (self.directory / "new").chmod(0o755)
        os.rename(self.directory / "new", path)
        return str(path)


@pytest.mark.parametrize("images", [(OURS, REFERENCE), (REFERENCE, OURS), (OURS, REFERENCE, OURS)], ids=len)
def test_replacement_in_place(tmp_path, images):
    server = Replaceable(tmp_path, workers="2")
    script = server.install(images[0], "0")
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    server.process = subprocess.Popen(
        [script, str(server.conf)], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=environment
    )
    try:
        assert server.process.stdout.read() == b""
        old = server.workers()
        with Load(server) as load:
            for number, image in enumerate(images[1:], 1):
                server.install(image, str(number))
                server.signal(signal.SIGUSR1)
                wait_until(lambda: server.generation() == str(number))  # noqa: B023
                time.sleep(1)
        wait_until(lambda: not set(old) & set(server.workers()) and len(server.workers()) == 2)
        # connections in the queue of a socket that the other kind doesn't take over are reset
        assert len(load.failures) < len(load.answers) / 100
    finally:
        server.stop()
