"""Several processes write, merge and shorten one container's files at once, and others read: no acknowledged row is ever missing."""

import subprocess
import sys
import textwrap
import threading

from swift.container.broker import ContainerBroker
from swift.container.server import ContainerServer
from swift.core.concurrency import use_fast_hub
from swift.core.hashing import hash_path
from test.databases import Logger, call, make_conf

use_fast_hub()

WRITER = textwrap.dedent(
    """
    import sys
    from swift.core.concurrency import patch, sleep
    patch()
    import swift.db.pending, swift.container.broker
    swift.db.pending.MERGE_ABOVE = 3000
    swift.container.broker.MERGE_AHEAD_ABOVE = 500
    swift.container.broker.MERGE_AHEAD_BATCH = 7
    from swift.container.server import ContainerServer
    from test.databases import Logger, call
    app = ContainerServer(eval(sys.argv[1]), Logger())
    me = sys.argv[2]
    for n in range(250):
        headers = {"X-Timestamp": f"17000{n:05d}.00000", "X-Size": "1", "X-Content-Type": "t", "X-Etag": me}
        status, _, body = call(app, "PUT", f"/sda1/1/AUTH_a/c/{me}{n:04d}", "", headers)
        assert status == 201, (status, body, app.logger.lines)
        print(f"{me}{n:04d}", flush=True)
        if n % 20 == 0:
            sleep(0.001)
        if n % 50 == 49:
            status, headers, body = call(app, "GET", "/sda1/1/AUTH_a/c", f"prefix={me}&format=json")
            assert body.count('"name"') == n + 1, (n, body)
    """
)


def test_no_acknowledged_row_is_ever_missing(tmp_path):
    conf = make_conf(tmp_path)
    app = ContainerServer(conf, Logger())
    assert call(app, "PUT", "/sda1/1/AUTH_a/c", "", {"X-Timestamp": "1700000000.00000"})[0] == 201
    writers = [
        subprocess.Popen([sys.executable, "-c", WRITER, repr(conf), name], stdout=subprocess.PIPE, text=True)
        for name in ("a", "b", "d")
    ]
    acknowledged = []

    def follow(writer):
        for line in writer.stdout:
            acknowledged.append(line.strip())

    threads = [threading.Thread(target=follow, args=(writer,)) for writer in writers]
    for thread in threads:
        thread.start()
    rounds = 0
    while any(thread.is_alive() for thread in threads):
        known = list(acknowledged)
        status, headers, body = call(app, "GET", "/sda1/1/AUTH_a/c", "limit=10000")
        listed = body.split()
        assert not set(known) - set(listed), "an acknowledged row is missing"
        assert listed == sorted(set(listed))
        # rows may come in between the totals and the listing of one answer
        assert len(set(known)) <= int(headers["X-Container-Object-Count"]) <= len(listed)
        rounds += 1
        if rounds % 7 == 0:
            status, _, body = call(
                app, "POST", "/sda1/1/AUTH_a/c", "", {"X-Timestamp": f"17{rounds:08d}.00000"}
            )
            assert status == 204, (status, body, app.logger.lines)
    for thread in threads:
        thread.join()
    assert [writer.wait() for writer in writers] == [0, 0, 0]
    assert len(acknowledged) == 750
    digest = hash_path("AUTH_a", "c")
    broker = ContainerBroker(f"{conf['devices']}/sda1/containers/1/{digest[-3:]}/{digest}/{digest}.db")
    assert broker.info()["object_count"] == 750
    assert len(broker.items_since(-1, 10000)) == 750
