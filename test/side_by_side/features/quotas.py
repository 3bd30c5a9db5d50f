"""Quotas of containers and accounts: set, shown, exceeded."""

from test.side_by_side.table import Step

_CHUNKED = "an upload of unknown length ends where there is no room here"


def write(path: str, size: int, user: str = "owner", **headers: str) -> Step:
    return Step("PUT", path, {"Content-Type": "a/b", **headers}, body="1" * size, user=user)


def account(user: str = "admin", **headers: str) -> Step:
    return Step(
        "POST", "", {f"X-Account-{key.replace('_', '-')}": value for key, value in headers.items()}, user=user
    )


VALUES = ("abc", "-1", "1.5", "+5", "0x5", "5", "", "0", " 7", "٥", "²", "9" * 30, "1e3")
CONTAINERS = [
    *(
        step
        for kind in ("Bytes", "Count")
        for value in VALUES
        for step in (Step("PUT", f"/s{kind}", {f"X-Container-Meta-Quota-{kind}": value}), Step("HEAD", f"/s{kind}"))
    ),
    Step("POST", "/sBytes", {"X-Remove-Container-Meta-Quota-Bytes": "x", "X-Container-Meta-Quota-Count": "x"}),
    Step("PUT", "/q", {"X-Container-Meta-Quota-Bytes": "10", "X-Container-Meta-Quota-Count": "2"}), Step("HEAD", "/q"),
    write("/q/a", 11), write("/q/a", 10, user="member"), write("/q/a", 11, user="member"), write("/q/a", 11, user=""), write("/q/a", 11, user="other"), write("/q/a", 11, user="admin"),
    write("/q/a", 5), Step("COPY", "/q/a", {"Destination": "q/b"}),
    Step("PUT", "/q/chunked", {"Content-Type": "a/b"}, body=[b"1" * 20], differs={"*": _CHUNKED}),
    Step("POST", "/q", {"X-Container-Meta-Quota-Bytes": "", "X-Container-Meta-Quota-Count": "0"}), write("/q/b", 1), Step("POST", "/q", {"X-Container-Meta-Quota-Count": ""}), write("/q/b", 100),
    write("/nothing/a", 1),
]  # fmt: skip

ACCOUNTS = [
    Step("PUT", "/p", {"X-Storage-Policy": "silver"}), Step("PUT", "/q2"),
    *(account(user, **{name: "10"}) for user in ("owner", "member", "other", "") for name in ("Quota_Bytes", "Quota_Count", "Meta_Quota_Bytes", "Quota_Bytes_Policy_silver", "Quota_Count_Policy_silver")),
    *(account(**{name: value}) for name in ("Quota_Bytes", "Quota_Count", "Meta_Quota_Bytes", "Quota_Bytes_Policy_silver") for value in ("abc", "-1", "1.5", "²")),
    Step("HEAD", "", user="owner"), account(Quota_Bytes_Policy_nope="5"), account("owner", Quota_Bytes_Policy_nope="5"), Step("HEAD", ""),
    account(Quota_Bytes="100000", Quota_Count="1000", Quota_Bytes_Policy_silver="100000", Quota_Count_Policy_silver="1000"), Step("HEAD", ""), Step("GET", "?format=json"),
    Step("POST", "", {"X-Remove-Account-Quota-Count": "x"}, user="admin"), Step("HEAD", ""), Step("POST", "", {"X-Remove-Account-Quota-Bytes": "x", "X-Account-Quota-Bytes": "7"}, user="admin"), Step("HEAD", ""),
    Step("POST", "", {"X-Remove-Account-Quota-Bytes": "x"}, user="owner"), account(Quota_Bytes="5"), write("/q2/a", 6), write("/q2/a", 6, user="admin"),
    *(write("/q2/a", 6, user=user) for user in ("member", "other", "")), write("/nothing/a", 6), account(Quota_Bytes=""), write("/q2/a", 6), Step("HEAD", ""),
    account(Meta_Quota_Bytes="3"), Step("HEAD", ""), write("/q2/a", 6), Step("POST", "", {"X-Remove-Account-Meta-Quota-Bytes": "x"}, user="admin"), Step("HEAD", ""), write("/q2/a", 6),
    account(Quota_Count="0"), write("/q2/a", 1), account(Quota_Count=""), account(Quota_Bytes_Policy_silver="1", Quota_Count_Policy_silver="5"), write("/p/a", 20), write("/q2/b", 20), write("/p/a", 1), write("/p/a", 20, user="member"),
    account(Quota_Bytes_Policy_silver="", Quota_Count_Policy_silver="0"), write("/p/b", 1), Step("HEAD", ""), account(Quota_Count_Policy_silver=""), Step("HEAD", ""), Step("POST", "/q2", {"X-Account-Quota-Bytes": "5"}),
    write("/p/b", 1),
]  # fmt: skip

STEPS = [*CONTAINERS, *ACCOUNTS]
