"""Users of a cluster, by its own authentication, and what must hold for its logs whatever they did."""

import http.client
import re

from test.cluster import Answer

USERS = {
    "test:tester": "testing",
    "test:tester2": "testing2",
    "test:tester3": "testing3",
    "test2:tester2": "testing2",
    "admin:admin": "admin",
}


def assert_logs_are_clean(cluster):
    """Whatever the clients did: no traceback, no 500, nobody's key or token in a log."""
    secrets = ["testing2", "testing3", cluster.token[30:]]
    for path in sorted(cluster.layout.log.iterdir()):
        text = path.read_text(errors="replace")
        assert "Traceback" not in text, path.name + text[text.index("Traceback") - 500 :][:4000]
        bad = re.search(r'^.*(HTTP/1\.[01] 500 |" 500 ).*$', text, re.MULTILINE)
        assert bad is None, f"{path.name}: {bad.group(0)[:500]}"
        for secret in secrets:
            assert secret not in text, f"{secret} in {path.name}"


class Client:
    """A user at the cluster, or nobody (user None); a path that begins with a slash is below the user's account."""

    def __init__(self, address, user=None):
        self.address = address
        self.user = user
        self.account = f"AUTH_{user.partition(':')[0]}" if user else None
        self.token = None
        if user:
            answer = self.raw("GET", "/auth/v1.0", headers={"X-Auth-User": user, "X-Auth-Key": USERS[user]})
            self.token = answer.headers["x-auth-token"]

    def raw(self, method, path, body=None, headers=None, **options):
        connection = http.client.HTTPConnection(*self.address, timeout=60)
        try:
            connection.request(method, path, body=body, headers=headers or {}, **options)
            return Answer(connection.getresponse())
        finally:
            connection.close()

    def __call__(self, method, path="", body=None, account=None, **headers):
        """`headers`: names with _ for -, or a dictionary under `headers`."""
        given = dict(headers.pop("headers", {}))
        given.update({name.replace("_", "-"): str(value) for name, value in headers.items()})
        if self.token:
            given.setdefault("X-Auth-Token", self.token)
        return self.raw(method, f"/v1/{account or self.account}{path}", body, given)
