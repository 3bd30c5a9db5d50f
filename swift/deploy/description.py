"""The description of a cluster: a TOML file with nodes, disks, policies, users and the options that differ.

What lives here: reading it and saying, one line each, what can't be meant. What never does: what becomes of it.
"""

from __future__ import annotations

import difflib
import math
import re
import sys
from collections.abc import Iterable, Mapping
from typing import Any

from swift.core.policy import PolicyError, parse_policies
from swift.deploy.described import (
    ACCOUNTS,
    CONTAINERS,
    DAEMONS,
    PORTS,
    ROLES,
    STORAGE_ROLES,
    Description,
    DescriptionError,
    Disk,
    Node,
    Options,
    Policy,
    RingSettings,
    Secret,
    User,
    policy_sections,
    spare_copies,
)  # fmt: skip
from swift.ring.devices import check_device_name, normalize_address

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

FILES = (
    "account-server",
    "container-reconciler",
    "container-server",
    "internal-client",
    "object-server",
    "proxy-server",
    "s3-lifecycle",
    "s3-notifier",
    "swift",
)
SIGNING = ("off", "sign", "require")
MANAGERS = ("systemd", "swift-init", "none")
AUTHS = ("tempauth", "keystone")
MOST_NODES, MOST_DISKS = 10_000, 1_000  # of a cluster, of a node
_NODE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9.-]{0,62}")
_PATH = re.compile(r"/[A-Za-z0-9._/+-]*")
_KEY_ID = re.compile(r"[A-Za-z0-9._-]{1,32}")
_ACCOUNT = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*")  # of the machines
_SSH = re.compile(r"[^\s-]\S*")  # an option would be one of this machine's ssh
_USER = re.compile(r"[^\s:/%]+:[^\s:/%]+")


class _Reader:
    """Takes values out of tables, and keeps what is wrong with them."""

    def __init__(self) -> None:
        self.wrong: list[str] = []

    def say(self, line: str) -> None:
        self.wrong.append(line)

    def table(self, value: Any, where: str) -> dict[str, Any]:
        if isinstance(value, dict):
            return value
        if value is not None:
            self.say(f"{where} is to be a table")
        return {}

    def unknown(self, table: Mapping[str, Any], known: Iterable[str], where: str) -> None:
        known = list(known)
        for key in table:
            if key not in known:
                near = difflib.get_close_matches(key, known, 1, 0.7)
                hint = f" (did you mean {near[0]}?)" if near else f": there are {', '.join(sorted(known))}"
                self.say(f"{where}: nothing is called {key}{hint}")

    def text(self, table: Mapping[str, Any], key: str, default: str, where: str) -> str:
        value = table.get(key, default)
        if not isinstance(value, str) or any(ord(c) < 32 for c in value):
            self.say(f"{where}: {key} is to be a text in one line")
            return default
        return value

    def word(
        self, table: Mapping[str, Any], key: str, default: str, pattern: re.Pattern[str], where: str
    ) -> str:
        value = self.text(table, key, default, where)
        if not pattern.fullmatch(value):
            self.say(f"{where}: {key} can't be {value!r}")
            return default
        return value

    def number(
        self, table: Mapping[str, Any], key: str, default: int, low: int, high: int, where: str
    ) -> int:
        value = table.get(key, default)
        if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
            self.say(f"{where}: {key} is to be a whole number from {low} to {high}, not {value!r}")
            return default
        return value

    def real(self, table: Mapping[str, Any], key: str, default: float, low: float, where: str) -> float:
        value = table.get(key, default)
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not low <= value < math.inf:
            self.say(f"{where}: {key} is to be a number from {low:g} on, not {value!r}")
            return default
        return float(value)

    def flag(self, table: Mapping[str, Any], key: str, where: str) -> bool:
        value = table.get(key, False)
        if not isinstance(value, bool):
            self.say(f"{where}: {key} is to be true or false")
            return False
        return value

    def choice(self, table: Mapping[str, Any], key: str, choices: tuple[str, ...], where: str) -> str:
        value = table.get(key, choices[0])
        if value not in choices:
            self.say(f"{where}: {key} is to be one of {', '.join(choices)}, not {value!r}")
            return choices[0]
        return str(value)

    def texts(self, table: Mapping[str, Any], key: str, where: str) -> tuple[str, ...]:
        value = table.get(key, [])
        if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
            self.say(f"{where}: {key} is to be a list of texts")
            return ()
        return tuple(value)

    def path(self, table: Mapping[str, Any], key: str, default: str, where: str, node: str = "") -> str:
        """`node`: what {node} in it stands for."""
        value = self.text(table, key, default, where).replace("{node}", node)
        if not _PATH.fullmatch(value) or {".", ".."} & set(value.split("/")):
            self.say(
                f"{where}: {key} is to be an absolute path of letters, digits and ._/+-, without . and .."
            )
            return default
        return value.rstrip("/") or "/"

    def address(self, table: Mapping[str, Any], key: str, default: str, where: str) -> str:
        value = self.text(table, key, default, where)
        try:
            return normalize_address(value)
        except ValueError:
            self.say(f"{where}: {key} {value!r} is no address" if value else f"{where} has no {key}")
            return ""


def load(path: str) -> Description:
    """Raises OSError, DescriptionError."""
    with open(path, "rb") as file:
        data = file.read()
    try:
        table = tomllib.loads(data.decode())
    except UnicodeDecodeError:
        raise DescriptionError([f"{path}: not UTF-8"]) from None
    except tomllib.TOMLDecodeError as err:
        raise DescriptionError([f"{path}: {err}"]) from None
    except RecursionError:
        raise DescriptionError([f"{path}: nested too deeply"]) from None
    return parse(table)


def parse(table: Mapping[str, Any]) -> Description:
    """Raises DescriptionError."""
    reader = _Reader()
    reader.unknown(
        table, ("cluster", "rings", "policies", "users", "defaults", "nodes", "options"), "the description"
    )
    cluster = reader.table(table.get("cluster"), "[cluster]")
    known = "name part_power min_part_hours replicas overload few_zones memcached user manager auth commands without signing signing_keys"
    reader.unknown(cluster, known.split(), "[cluster]")
    policies = _policies(reader, reader.table(table.get("policies"), "[policies]"))
    nodes = _nodes(reader, table)
    found = Description(
        name=reader.text(cluster, "name", "cluster", "[cluster]"),
        nodes=nodes,
        policies=policies,
        users=_users(reader, reader.table(table.get("users"), "[users]")),
        replicas=reader.real(cluster, "replicas", 3, 1, "[cluster]"),
        settings=_settings(reader, cluster, reader.table(table.get("rings"), "[rings]"), policies),
        memcached=reader.texts(cluster, "memcached", "[cluster]"),
        user=reader.word(cluster, "user", "swift", _ACCOUNT, "[cluster]"),
        manager=reader.choice(cluster, "manager", MANAGERS, "[cluster]"),
        auth=reader.choice(cluster, "auth", AUTHS, "[cluster]"),
        commands=reader.path(cluster, "commands", "/usr/bin", "[cluster]"),
        without=_without(reader, cluster),
        signing=reader.choice(cluster, "signing", SIGNING, "[cluster]"),
        signing_keys=_key_ids(reader, cluster),
        options=_options(reader, table.get("options"), "[options"),
    )
    if not reader.wrong:  # what follows would only repeat it in other words
        _judge(reader, found, reader.flag(cluster, "few_zones", "[cluster]"))
    if reader.wrong:
        raise DescriptionError(reader.wrong)
    return found


# -- parts of it ----------------------------------------------------------------------------------------------------------


def _policies(reader: _Reader, table: dict[str, Any]) -> tuple[Policy, ...]:
    found = []
    for name, value in table.items():
        where = f"[policies.{name}]"
        policy = reader.table(value, where)
        common = ("index", "default", "deprecated", "aliases", "replicas", "type")
        coded = ("ec_type", "data", "parity", "duplication", "segment_size")
        erasure = policy.get("type") == "erasure_coding"
        reader.unknown(policy, common + coded if erasure else common, where)
        if "index" not in policy:
            reader.say(f"{where} has no index")
            continue
        index = reader.number(policy, "index", 0, 0, 9999, where)
        options = {
            "name": name,
            "policy_type": reader.choice(policy, "type", ("replication", "erasure_coding"), where),
        }
        if aliases := reader.texts(policy, "aliases", where):
            options["aliases"] = ", ".join(aliases)
        for flag in ("default", "deprecated"):
            if reader.flag(policy, flag, where):
                options[flag] = "yes"
        if erasure:
            data = reader.number(policy, "data", 4, 1, 200, where)
            parity = reader.number(policy, "parity", 2, 1, 200, where)
            duplication = reader.number(policy, "duplication", 1, 1, 10, where)
            options["ec_type"] = reader.text(policy, "ec_type", "isa_l_rs_vand", where)
            options["ec_num_data_fragments"], options["ec_num_parity_fragments"] = str(data), str(parity)
            if duplication > 1:
                options["ec_duplication_factor"] = str(duplication)
            if "segment_size" in policy:
                options["ec_object_segment_size"] = str(
                    reader.number(policy, "segment_size", 1 << 20, 1, 256 << 20, where)
                )
            replicas: float = (data + parity) * duplication
            if reader.real(policy, "replicas", replicas, 1, where) != replicas:
                reader.say(
                    f"{where}: {data} + {parity} fragments need {replicas} replicas; leave replicas out"
                )
            spare = parity
        else:
            replicas = reader.real(policy, "replicas", 3, 1, where)
            spare = spare_copies(replicas)
        ring = "object" if index == 0 else f"object-{index}"
        found.append(Policy(index, name, options, replicas, ring, spare))
    found.sort(key=lambda policy: policy.index)
    if not table:
        reader.say("there is no policy: [policies.gold] with index = 0 and default = true would be one")
    elif not reader.wrong:
        try:
            _check_policies(found)
        except (PolicyError, ValueError) as err:
            reader.say(f"[policies]: {err}")
    return tuple(found)


def _check_policies(found: list[Policy]) -> None:
    indexes = [policy.index for policy in found]
    for index in indexes:
        if indexes.count(index) > 1:
            raise PolicyError(f"two policies have the index {index}")
    if 0 not in indexes:
        raise PolicyError("no policy has the index 0; the oldest one has it, or else any")
    parse_policies(policy_sections(found))


def _settings(
    reader: _Reader, cluster: dict[str, Any], table: dict[str, Any], policies: tuple[Policy, ...]
) -> dict[str, RingSettings]:
    names = ["account", "container", *(policy.ring for policy in policies)]
    reader.unknown(table, names, "[rings]")
    found = {}
    for name in names:
        where = f"[rings.{name}]" if name in table else "[cluster]"
        own = reader.table(table.get(name), where)
        reader.unknown(own, ("part_power", "min_part_hours", "overload"), where)
        both = {**cluster, **own}
        if "part_power" not in both:
            reader.say(
                "[cluster] has no part_power: about 100 partitions a disk of the largest cluster that you foresee "
                "(2^part_power partitions times replicas; 10 for a trial, 16 for 2,000 disks); it can only be raised later"
            )
            break
        found[name] = RingSettings(
            reader.number(both, "part_power", 10, 1, 24, where),
            reader.number(both, "min_part_hours", 1, 0, 255, where),
            reader.real(both, "overload", 0.0, 0, where),
        )
    return found


def _key_ids(reader: _Reader, cluster: dict[str, Any]) -> tuple[str, ...]:
    ids = reader.texts(cluster, "signing_keys", "[cluster]") if "signing_keys" in cluster else ("k1",)
    if not ids or len(set(ids)) != len(ids) or not all(_KEY_ID.fullmatch(key_id) for key_id in ids):
        reader.say(
            "[cluster] signing_keys is to be a list of names, each once, of letters, digits and ._-; the first one signs"
        )
    return ids


def _without(reader: _Reader, cluster: dict[str, Any]) -> tuple[str, ...]:
    names = reader.texts(cluster, "without", "[cluster]")
    for name in names:
        if name not in DAEMONS:
            reader.say(f"[cluster] without: there is no daemon {name}: {', '.join(DAEMONS)}")
    return names


def _users(reader: _Reader, table: dict[str, Any]) -> tuple[User, ...]:
    found = []
    for full_name, value in table.items():
        where = f'[users] "{full_name}"'
        user = reader.table(value, where)
        reader.unknown(user, ("key", "groups"), where)
        if not _USER.fullmatch(full_name):
            reader.say(f"{where} is to be ACCOUNT:USER, without blanks, / and %")
            continue
        key = reader.text(user, "key", "", where) if "key" in user else None
        if key is not None and (not key or re.search(r"[\s%]", key)):
            reader.say(f"{where}: its key is to be one word without %; without a key one is made")
        account, _, name = full_name.partition(":")
        groups = reader.text(user, "groups", "", where)
        if "%" in groups:
            reader.say(f"{where}: groups can't have %")
        found.append(User(account, name, groups, key))
    return tuple(found)


def _options(reader: _Reader, value: Any, where: str) -> Options:
    found: Options = {}
    for file, sections in reader.table(value, where + "]").items():
        if file not in FILES:
            reader.say(f"{where}.{file}]: there is no {file}.conf here: {', '.join(FILES)}")
            continue
        for section, options in reader.table(sections, f"{where}.{file}]").items():
            there = f'{where}.{file}."{section}"]'
            if file == "swift" and (section == "swift-hash" or section.startswith("storage-policy")):
                reader.say(f"{there}: hash settings are kept as secrets, policies come from [policies]")
                continue
            if not re.fullmatch(r"[^\s\[\]](?:[^\[\]\n]*[^\s\[\]])?", section):
                reader.say(f"{there} is no name of a section")
                continue
            for option, wanted in reader.table(options, there).items():
                shaped = _option(wanted)
                if shaped is None or not re.fullmatch(r"[^\s=:\[#;][^=:\n]*", option):
                    reader.say(
                        f'{there}: {option} is to be a text in one line, a number, true, false or {{ secret = "NAME" }}'
                    )
                    continue
                found.setdefault(file, {}).setdefault(section, {})[option] = shaped
    return found


def _option(value: Any) -> str | Secret | None:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (int, float)):
        return str(value)
    if isinstance(value, str):
        return None if any(ord(c) < 32 for c in value) else value
    if isinstance(value, dict) and list(value) == ["secret"] and isinstance(value["secret"], str):
        return Secret(value["secret"])
    return None


_NODE_KEYS = (
    "address", "replication_address", "region", "zone", "roles", "disks", "ports", "ssh", "swift_dir", "devices", "run_dir",
    "cache_dir", "options",
)  # fmt: skip


def _nodes(reader: _Reader, table: Mapping[str, Any]) -> tuple[Node, ...]:
    defaults = reader.table(table.get("defaults"), "[defaults]")
    reader.unknown(
        defaults, [key for key in _NODE_KEYS if key not in ("address", "replication_address")], "[defaults]"
    )
    nodes = reader.table(table.get("nodes"), "[nodes]")
    if not nodes:
        reader.say(
            'there is no node: [nodes.s1] with address = "10.0.0.1", zone = 1 and disks = { sdb1 = 100 } would be one'
        )
    if len(nodes) > MOST_NODES:
        reader.say(f"{len(nodes)} nodes: at most {MOST_NODES}")
        return ()
    found = []
    for name, value in nodes.items():
        where = f"[nodes.{name}]"
        own = reader.table(value, where)
        reader.unknown(own, _NODE_KEYS, where)
        if not _NODE_NAME.fullmatch(name):
            reader.say(f"{where}: names of nodes have letters, digits, - and .")
            continue
        found.append(_node(reader, name, {**defaults, **own}, own, where))
    return tuple(found)


def _node(reader: _Reader, name: str, both: dict[str, Any], own: dict[str, Any], where: str) -> Node:
    address = reader.address(both, "address", "", where)
    roles: list[str] = []
    for role in reader.texts(both, "roles", where) if "roles" in both else ("proxy", "storage"):
        roles += STORAGE_ROLES if role == "storage" else (role,)
        if role != "storage" and role not in ROLES:
            reader.say(f"{where}: there is no role {role}: {', '.join(ROLES)}, or storage for the last three")
    ports = {**PORTS}
    wanted = reader.table(both.get("ports"), f"{where} ports")
    reader.unknown(wanted, PORTS, f"{where} ports")
    for role in PORTS:
        ports[role] = reader.number(wanted, role, PORTS[role], 1, 65535, f"{where} ports")
    if "zone" not in both:
        reader.say(f"{where} has no zone: nodes that fail together (one rack, one breaker) share a number")
    stores = any(role in STORAGE_ROLES for role in roles)
    disks = _disks(reader, both.get("disks") if stores or "disks" in own else None, where)
    if stores and not disks:
        reader.say(f'{where} has no disks: disks = {{ sdb1 = 100 }}, or roles = ["proxy"]')
    if disks and not stores:
        reader.say(f"{where} has disks, but none of the roles {', '.join(STORAGE_ROLES)}")
    return Node(
        name=name,
        address=address,
        replication_address=reader.address(both, "replication_address", address, where) if address else "",
        region=reader.number(both, "region", 1, 0, 65535, where),
        zone=reader.number(both, "zone", 1, 0, 65535, where),
        roles=tuple(dict.fromkeys(roles)),
        disks=disks,
        ports=ports,
        ssh=reader.word(both, "ssh", address, _SSH, where) if address else "",
        swift_dir=reader.path(both, "swift_dir", "/etc/swift", where, name),
        devices=reader.path(both, "devices", "/srv/node", where, name),
        run_dir=reader.path(both, "run_dir", "/var/run/swift", where, name),
        cache_dir=reader.path(both, "cache_dir", "/var/cache/swift", where, name),
        options=_options(reader, own.get("options"), f"[nodes.{name}.options"),
    )


def _disks(reader: _Reader, value: Any, where: str) -> tuple[Disk, ...]:
    found = []
    for name, wanted in reader.table(value, f"{where} disks").items():
        there = f"{where} disk {name}"
        table = wanted if isinstance(wanted, dict) else {"weight": wanted}
        reader.unknown(table, ("weight", "holds"), there)
        try:
            check_device_name(name)
            if "/" in name or name in (".", ".."):
                raise ValueError
        except ValueError:
            reader.say(f"{there}: its name is that of its folder below devices")
        weight = table.get("weight")
        if (
            isinstance(weight, bool)
            or not isinstance(weight, (int, float))
            or not (weight == 0 or 1e-9 <= weight <= 1e15)
        ):
            reader.say(f"{there}: its weight is to be a number from 0 on, say its size in GB, not {weight!r}")
            weight = 0
        found.append(Disk(name, float(weight), reader.texts(table, "holds", there)))
    if len(found) > MOST_DISKS:
        reader.say(f"{where}: {len(found)} disks: at most {MOST_DISKS}")
    return tuple(found)


# -- what can't be as a whole ---------------------------------------------------------------------------------------------


def _judge(reader: _Reader, found: Description, few_zones: bool) -> None:
    _judge_addresses(reader, found.nodes)
    contents = [content for _, _, content, _, _ in found.rings()]
    for node in found.nodes:
        for disk in node.disks:
            for content in disk.holds:
                if content not in contents:
                    reader.say(
                        f"[nodes.{node.name}] disk {disk.name} holds {content}: there are {', '.join(contents)}"
                    )
    if not found.of_role("proxy"):
        reader.say("no node has the role proxy")
    for ring, role, content, replicas, spare in found.rings():
        disks = [(node, disk) for node, disk in found.disks_of(role, content) if disk.weight]
        what = content if content in (ACCOUNTS, CONTAINERS) else f"policy {content}"
        copies = math.ceil(replicas)
        if len(disks) < copies:
            reader.say(
                f"{what}: {copies} copies or fragments need {copies} disks with a weight, there are {len(disks)} (ring {ring})"
            )
            continue
        zones = len({(node.region, node.zone) for node, _ in disks})
        worst = math.ceil(copies / zones)
        if worst > max(spare, 1) and copies > 1 and not few_zones:
            reader.say(
                f"{what}: {copies} copies or fragments in {zones} {'zone' if zones == 1 else 'zones'}: "
                f"the loss of one zone takes {worst}, of which {spare} can be spared; more zones, or few_zones = true in [cluster]"
            )


def _judge_addresses(reader: _Reader, nodes: tuple[Node, ...]) -> None:
    """Each server has an address and port of its own."""
    served: dict[tuple[str, int], tuple[str, str]] = {}
    for node in nodes:
        for role in node.roles:
            addresses = {node.address} if role == "proxy" else {node.address, node.replication_address}
            for address in sorted(addresses):
                other = served.setdefault((address, node.ports[role]), (node.name, role))
                if other != (node.name, role):
                    reader.say(
                        f"[nodes.{node.name}]: its {role} server would have the address of {other[0]}'s {other[1]} server, "
                        f"{address}:{node.ports[role]}"
                    )
                    break
            else:
                continue
            break
