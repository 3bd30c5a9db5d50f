"""All copies of accounts, containers and objects, asked for one by one and compared, with a line for each that is missing or another.

Listings are gone through a page at a time, all replicas in step; nothing is held whole. Never here: options, where findings go.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from hashlib import md5
from typing import Any, NamedTuple

from swift.core import swift_dir
from swift.core.concurrency import GreenPile, GreenPool
from swift.core.constraints import limits
from swift.core.errors import ConfigError
from swift.core.names import split_path
from swift.core.object_headers import EC_ETAG
from swift.core.policy import policies
from swift.core.timestamp import Timestamp
from swift.ring.errors import RingError
from swift.ring.lookup import Ring
from swift.wire import direct
from swift.wire.direct import DirectError

ACCOUNTS, CONTAINERS, OBJECTS = "Accounts checked", "Containers checked", "Objects checked"
_TIMEOUTS: dict[str, Any] = {"conn_timeout": 5.0, "response_timeout": 60.0}
_CHUNK = 65536

Node = Mapping[str, Any]


class _Found(NamedTuple):
    """A replica of an account or container. `items`: a page of its listing."""

    node: Node
    headers: Mapping[str, Any]
    items: list[Any]


class Copies:
    """`counts`: (what was checked, what was found) -> how often. `download`: read objects and compare their MD5. Raises ConfigError."""

    def __init__(self, directory: str, at_once: int, download: bool) -> None:
        self.counts: Counter[tuple[str, str]] = Counter()
        self._directory = swift_dir.use(directory)
        self._rings = {name: self._ring(name) for name in ("account", "container")}
        self._pool = GreenPool(at_once)
        self._download = download
        self._checked: set[str] = set()  # accounts and containers

    def _ring(self, name: str) -> Ring:
        try:
            return Ring(self._directory, name)
        except (OSError, RingError) as err:
            raise ConfigError(f"The {name} ring in {self._directory} can't be opened: {err}") from None

    def audit(self, path: str) -> Iterator[str]:
        """Check what `a`, `a/c` or `a/c/o` names and all below it; the paths of what is inconsistent, each once."""
        try:
            account, container, obj = split_path("/" + path.lstrip("/"), 1, 3, True)
        except ValueError as err:
            print(f"  {err}")
            return
        if obj:
            yield from self._container(account, container, False)
            if not self._is_listed((account, container), obj):
                print(f"  Object /{account}/{container}/{obj} missing in container listing!")
            if not self._object(account, container, obj):
                yield f"/{account}/{container}/{obj}"
        elif container:
            yield from self._container(account, container, True)
        else:
            yield from self._account(account, True)

    # ------------------------------------------------------------ accounts

    def _account(self, account: str, whole: bool) -> Iterator[str]:
        if account not in self._checked:
            self._checked.add(account)
            print(f'Auditing account "{account}"')
            self.counts[ACCOUNTS, ACCOUNTS] += 1
            replicas, good = self._ask((account,), 1)
            for kind, header in (("container", "Container"), ("object", "Object")):
                numbers = [int(found.headers.get(f"X-Account-{header}-Count") or 0) for found in replicas]
                if numbers and min(numbers) != max(numbers):
                    print(f"  Account databases for '{account}' don't agree on number of {kind}s.")
                    print(f"  Max: {max(numbers)}, Min: {min(numbers)}")
                    self.counts[ACCOUNTS, f"{header} mismatch"] += 1
                    good = False
            if not replicas:
                print(f"  Failed to fetch account {account} at all!")
            if not good:
                yield f"/{account}"
        if whole:
            for name in self._names((account,)):
                yield from self._container(account, name, True)

    # ------------------------------------------------------------ containers

    def _container(self, account: str, container: str, whole: bool) -> Iterator[str]:
        path = f"/{account}/{container}"
        if path not in self._checked:
            self._checked.add(path)
            print(f'Auditing container "{container}"')
            yield from self._account(account, False)
            good = self._is_listed((account,), container)
            if not good:
                print(f"  Container {path} not in account listing!")
            self.counts[CONTAINERS, CONTAINERS] += 1
            replicas, complete = self._ask((account, container), 1)
            numbers = [int(found.headers.get("X-Container-Object-Count") or 0) for found in replicas]
            if numbers and min(numbers) != max(numbers):
                print("  Container databases don't agree on number of objects.")
                print(f"  Max: {max(numbers)}, Min: {min(numbers)}")
                self.counts[CONTAINERS, "Count mismatch"] += 1
                complete = False
            if not replicas:
                print(f"  Failed to fetch container {path} at all!")
            if not (good and complete):
                yield path
        if whole:
            yield from self._objects(account, container)

    def _objects(self, account: str, container: str) -> Iterator[str]:
        """All objects of a container, so many at a time."""
        index = self._policy_of(account, container)
        bad: list[str] = []

        def check(name: str) -> None:
            if not self._object(account, container, name, index):
                bad.append(f"/{account}/{container}/{name}")

        for name in self._names((account, container)):
            self._pool.spawn_n(check, name)
            while bad:
                yield bad.pop(0)
        self._pool.waitall()
        yield from bad

    def _policy_of(self, account: str, container: str) -> int:
        """The policy that most of its servers know."""
        replicas, _ = self._ask((account, container), 1, quiet=True)
        indexes = Counter(int(found.headers.get("X-Backend-Storage-Policy-Index") or 0) for found in replicas)
        return indexes.most_common(1)[0][0] if indexes else int(policies().default)

    # ------------------------------------------------------------ objects

    def _object(self, account: str, container: str, obj: str, index: int | None = None) -> bool:
        """Returns True if all of its copies are there and the same."""
        path = f"/{account}/{container}/{obj}"
        index = self._policy_of(account, container) if index is None else index
        policy = policies().get_by_index(index)
        if policy is None:
            print(f"  Container /{account}/{container} has an unknown storage policy: {index}")
            return False
        ring = self._rings.setdefault(
            policy.ring_name, self._rings.get(policy.ring_name) or self._ring(policy.ring_name)
        )
        partition, nodes = ring.get_nodes(account, container, obj)
        headers = {"X-Backend-Storage-Policy-Index": str(index), "X-Backend-Open-Expired": "true"}
        self.counts[OBJECTS, OBJECTS] += 1
        good = True
        copies: list[tuple[Node, Mapping[str, Any]]] = []
        for node in nodes:
            where = f"{node['ip']}/{node['device']}"
            try:
                found, digest = self._fetch(node, partition, (account, container, obj), headers)
            except DirectError as err:
                good = False
                if err.http_status is None:
                    print(f'  Exception fetching object "{path}" on {where}')
                    self.counts[OBJECTS, "Exceptions"] += 1
                else:
                    verb = "GET" if self._download else "HEAD"
                    print(f'  Bad status {err.http_status} {verb}ing object "{path}" on {where}')
                    self.counts[OBJECTS, "Missing Replicas"] += 1
                continue
            copies.append((node, found))
            if digest is not None and digest != str(found.get("Etag") or "").strip('"'):
                good = False
                self.counts[OBJECTS, "MD5 Mismatch"] += 1
                print(f'  MD5 does not match etag for "{path}" on {where}')
        if not copies:
            print(f"  Failed to fetch object {path} at all!")
            return False
        return self._same(path, copies) and good

    def _fetch(
        self, node: Node, partition: int, names: Sequence[str], headers: Mapping[str, str]
    ) -> tuple[Mapping[str, Any], str | None]:
        """(headers, MD5 of the body if it is read) of a copy, or a fragment archive. Raises DirectError."""
        account, container, obj = names
        if not self._download:
            found = direct.head_object(node, partition, account, container, obj, headers, **_TIMEOUTS)
            return found, None
        found, body = direct.get_object(
            node, partition, account, container, obj, _CHUNK, headers, **_TIMEOUTS
        )
        digest = md5(usedforsecurity=False)
        for data in body:
            digest.update(data)
        return found, digest.hexdigest()

    def _same(self, path: str, copies: Sequence[tuple[Node, Mapping[str, Any]]]) -> bool:
        """Returns True if all are of the object of which the newest is."""
        newest = max(copies, key=lambda copy: _written(copy[1]))
        good = True
        for node, found in copies:
            if _etag(found) != _etag(newest[1]):
                good = False
                self.counts[OBJECTS, "MD5 Mismatch"] += 1
                print(f'  ETag mismatch for "{path}" on {node["ip"]}/{node["device"]}')
        return good

    # ------------------------------------------------------------ listings

    def _ask(
        self, names: tuple[str, ...], limit: int, marker: str = "", prefix: str = "", quiet: bool = False
    ) -> tuple[list[_Found], bool]:
        """(what the replicas say, True if all have answered); `quiet`: they have been asked before."""
        ring = self._rings["account" if len(names) == 1 else "container"]
        partition, nodes = ring.get_nodes(*names)
        get: Callable[..., Any] = direct.get_account if len(names) == 1 else direct.get_container

        def one(node: Node) -> _Found | DirectError:
            try:
                return _Found(
                    node,
                    *get(node, partition, *names, marker=marker, limit=limit, prefix=prefix, **_TIMEOUTS),
                )
            except DirectError as err:
                return err

        pile = GreenPile(GreenPool(len(nodes)))
        for node in nodes:
            pile.spawn(one, node)
        answers = list(zip(nodes, pile, strict=True))
        replicas = [answer for _, answer in answers if isinstance(answer, _Found)]
        if not quiet:
            for node, answer in answers:
                if isinstance(answer, DirectError):
                    self._complain(names, node, answer)
        return replicas, len(replicas) == len(nodes)

    def _complain(self, names: tuple[str, ...], node: Node, error: DirectError) -> None:
        is_missing = error.http_status is not None
        if len(names) == 1:
            where = f"{node['ip']}:{node['device']}"
            told = (
                f"Bad status GETting account '{names[0]}'  from {where}"
                if is_missing
                else f"Exception GETting account '{names[0]}' on {where}"
            )
        else:
            path = "/" + "/".join(names)
            told = f'GETting container "{path}" on {node["ip"]}/{node["device"]}'
            told = f"{'Bad status' if is_missing else 'Exception'} {told}"
        print(f"  {told}")
        kind = ACCOUNTS if len(names) == 1 else CONTAINERS
        self.counts[kind, "Missing Replicas" if is_missing else "Exceptions"] += 1

    def _is_listed(self, names: tuple[str, ...], name: str) -> bool:
        replicas, _ = self._ask(names, 1, prefix=name, quiet=True)
        return any(item.get("name") == name for found in replicas for item in found.items)

    def _names(self, names: tuple[str, ...]) -> Iterator[str]:
        """What any of the replicas lists, in order."""
        known = limits()
        most = known.account_listing_limit if len(names) == 1 else known.container_listing_limit
        marker = ""
        while True:
            replicas, _ = self._ask(names, most, marker, quiet=True)
            pages = [[item["name"] for item in found.items if "name" in item] for found in replicas]
            # behind the end of a page that is full, its replica may list more
            ends = [page[-1] for page in pages if len(page) >= most]
            end = min(ends, default=None)
            listed = sorted({name for page in pages for name in page if end is None or name <= end})
            yield from listed
            if end is None or not listed:
                return
            marker = end


def _etag(found: Mapping[str, Any]) -> str:
    """Of the object, also where there is a fragment of it."""
    return str(found.get(EC_ETAG) or found.get("Etag") or "").strip('"')


def _written(found: Mapping[str, Any]) -> Timestamp:
    when = (
        found.get("X-Backend-Data-Timestamp") or found.get("X-Backend-Timestamp") or found.get("X-Timestamp")
    )
    return Timestamp(when or 0)
