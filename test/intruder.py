"""What somebody can do who reaches the storage ports of a cluster and knows the rings, but none of its keys: tried out, one deed after the other.

    python -m test.intruder SWIFT_DIR ACCOUNT CONTAINER OBJECT

tells for each deed what came of it. It changes and deletes what it is pointed at: only for clusters made for that.
What lives here: the deeds. What never does: how a cluster comes to be, and assertions.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import socket
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

from swift.core.hashing import load_hash_config
from swift.ring.lookup import Ring


class Listener:
    """Somebody's own server, to which a storage server is to be sent: `heard` of the first line of each that came."""

    def __init__(self) -> None:
        self.heard: list[bytes] = []
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self._socket.getsockname()[1]}"
        threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                sock, _ = self._socket.accept()
                with sock:
                    sock.settimeout(5)
                    with contextlib.suppress(OSError):
                        self.heard.append(sock.recv(4096).partition(b"\r\n")[0])
                        sock.sendall(b"HTTP/1.1 201 Created\r\nContent-Length: 0\r\n\r\n")

    def close(self) -> None:
        self._socket.close()


class Intruder:
    """`names`: account, container and object, which must be there, in policy 0."""

    def __init__(self, swift_dir: str, names: tuple[str, str, str]) -> None:
        load_hash_config(swift_dir)
        self.names = names
        self.nodes: dict[str, tuple[dict[str, Any], int]] = {}
        for kind, count in (("account", 1), ("container", 2), ("object", 3)):
            part, nodes = Ring(swift_dir, kind).get_nodes(*names[:count])
            self.nodes[kind] = nodes[0], part
        self.listener = Listener()

    def close(self) -> None:
        self.listener.close()

    def ask(
        self, kind: str, method: str, path: str, body: bytes = b"", headers: dict[str, str] | None = None
    ) -> tuple[int, bytes]:
        """Status and body of what the first node of a thing's answers."""
        node = self.nodes[kind][0]
        connection = http.client.HTTPConnection(node["ip"], node["port"], timeout=30)
        try:
            given = {"X-Timestamp": f"{time.time() + 1:.5f}", "X-Backend-Storage-Policy-Index": "0"}
            connection.request(method, path, body or None, {**given, **(headers or {})})
            answer = connection.getresponse()
            return answer.status, answer.read()
        finally:
            connection.close()

    def path(self, kind: str, *more: str) -> str:
        node, part = self.nodes[kind]
        count = {"account": 1, "container": 2, "object": 3}[kind]
        return "/" + "/".join([node["device"], str(part), *self.names[:count], *more])

    def replica(self, kind: str) -> str:
        """The place of a whole partition."""
        node, part = self.nodes[kind]
        return f"/{node['device']}/{part}"

    def _did(
        self, kind: str, method: str, path: str, body: bytes = b"", headers: dict[str, str] | None = None
    ) -> bool:
        return 200 <= self.ask(kind, method, path, body, headers)[0] < 300

    # --- deeds: each returns True if it came to something

    def reads_an_object(self) -> bool:
        return self._did("object", "GET", self.path("object"))

    def lists_a_container(self) -> bool:
        status, body = self.ask("container", "GET", self.path("container") + "?format=json")
        return status == 200 and self.names[2].encode() in body

    def lists_an_account(self) -> bool:
        status, body = self.ask("account", "GET", self.path("account") + "?format=json")
        return status == 200 and self.names[1].encode() in body

    def reads_hashes_of_a_partition(self) -> bool:
        return self._did("object", "REPLICATE", self.replica("object"))

    def reads_what_a_device_holds(self) -> bool:
        return self._did(
            "object", "REPLICATE", self.replica("object"), headers={"X-Backend-Inventory": "device"}
        )

    def asks_for_the_state_of_a_database(self) -> bool:
        question = json.dumps(["sync", 1, "0" * 32, "x", "0", "0", "0", "{}"]).encode()
        status, _ = self.ask("container", "REPLICATE", self.replica("container") + "/" + "0" * 32, question)
        return status == 404  # an answer to the question

    def opens_the_copying_of_objects(self) -> bool:
        body = b":MISSING_CHECK: START\r\n:MISSING_CHECK: END\r\n:UPDATES: START\r\n:UPDATES: END\r\n"
        return self._did("object", "SSYNC", self.replica("object"), body)

    def changes_metadata(self) -> bool:
        return self._did("object", "POST", self.path("object"), headers={"X-Object-Meta-By": "intruder"})

    def opens_a_container_to_everybody(self) -> bool:
        return self._did(
            "container", "POST", self.path("container"), headers={"X-Container-Read": ".r:*,.rlistings"}
        )

    def makes_up_a_row(self) -> bool:
        headers = {"X-Size": "1", "X-Content-Type": "a/b", "X-Etag": "0" * 32}
        return self._did("container", "PUT", self.path("container", "made-up"), headers=headers)

    def merges_rows(self) -> bool:
        row = {
            "name": "merged", "created_at": f"{time.time():.5f}", "size": 1, "content_type": "a/b", "etag": "0" * 32, "deleted": 0,
            "storage_policy_index": 0,
        }  # fmt: skip
        return self._did(
            "container", "UPDATE", self.path("container"), json.dumps([row]).encode(),
            {"X-Backend-Record-Type": "object", "Content-Type": "application/json"},
        )  # fmt: skip

    def sends_a_server_to_a_host_of_its_own(self) -> bool:
        headers = {
            "Content-Type": "a/b", "X-Container-Host": self.listener.address, "X-Container-Device": "sda",
            "X-Container-Partition": "1",
        }  # fmt: skip
        before = len(self.listener.heard)
        self._did("object", "PUT", self.path("object") + "-sent", b"x", headers)
        return len(self.listener.heard) > before

    def overwrites_an_object(self) -> bool:
        return self._did(
            "object", "PUT", self.path("object"), b"by an intruder", {"Content-Type": "text/plain"}
        )

    def deletes_an_object(self) -> bool:
        return self._did("object", "DELETE", self.path("object"))

    def makes_a_container(self) -> bool:
        return self._did("container", "PUT", self.path("container") + "-more")

    def deletes_an_account(self) -> bool:
        # 409: it would, if a later request did not speak for the account
        return self.ask("account", "DELETE", self.path("account"))[0] in (204, 409)

    def reads_what_nodes_say_of_themselves(self) -> bool:
        return self._did("object", "GET", "/recon/diskusage") or self._did("object", "GET", "/recon/ringmd5")

    def reads_figures(self) -> bool:
        return self._did("object", "GET", "/metrics")

    def hears_which_software_it_is(self) -> bool:
        return self._did("object", "OPTIONS", "/")


DEEDS: list[str] = [name for name in vars(Intruder) if name.split("_")[0].endswith("s") and "_" in name]


def try_all(intruder: Intruder, told: Callable[[str, str], None] = lambda deed, what: None) -> set[str]:
    """The deeds that came to something. `told(deed, what)`: called after each."""
    done = set()
    for deed in DEEDS:
        try:
            came = getattr(intruder, deed)()
            what = "DONE" if came else "refused"
        except (OSError, http.client.HTTPException) as err:
            came, what = False, f"no answer: {err}"
        if came:
            done.add(deed)
        told(deed.replace("_", " "), what)
    return done


def main() -> int:
    if len(sys.argv) != 5:
        print(__doc__, file=sys.stderr)
        return 2
    intruder = Intruder(sys.argv[1], (sys.argv[2], sys.argv[3], sys.argv[4]))
    done = try_all(intruder, lambda deed, what: print(f"{deed:45} {what}"))
    print(f"{len(done)} of {len(DEEDS)} came to something")
    return 1 if done else 0


if __name__ == "__main__":
    sys.exit(main())
