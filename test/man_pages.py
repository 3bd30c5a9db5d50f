"""Manual pages, made of what the commands' --help says and of what is told here: what each is for, its exit status, an example, its files.

`python -m test.commands write` makes them anew, in etc/man. What never lives here: running the commands.
"""

from __future__ import annotations

from typing import Any, NamedTuple


class Page(NamedTuple):
    """`status`: of exit, a line each; `example`: lines to paste; `files`: what it reads or writes."""

    summary: str
    example: str
    status: str
    files: str


_CONF = "/etc/swift/{kind}-server.conf or a folder {kind}-server.conf.d: its options; see the samples in share/swift.\n"
_SWIFT = "/etc/swift/swift.conf: the hash prefix and suffix, policies, limits.\n"
_RINGS = "/etc/swift/*.ring.gz: where everything is.\n"
_DEVICES = "/srv/node: the disks (option devices).\n"
_RECON = "/var/cache/swift/*.recon: what swift-recon and swift-status are told of it.\n"
_PLAIN = "0: done.\n1: it could not be done; the last line says why.\n2: wrong use.\n"
_DATABASE = (
    "0: done.\n1: it can't be read.\n2: what it shows may be old, as its lock is held; or wrong use.\n"
)


def _server(kind: str, what: str) -> Page:
    return Page(
        f"serve {what}",
        f"swift-{kind}-server /etc/swift/{kind}-server.conf --test-config\nswift-init {kind}-server start\n",
        "0: it was told to end, or --test-config found nothing wrong.\n1: the configuration can't be used; the message says where.\n2: wrong use.\n",
        _CONF.format(kind=kind) + _SWIFT + _RINGS + (_DEVICES if kind != "proxy" else ""),
    )


def _daemon(name: str, what: str, kind: str = "") -> Page:
    kind = kind or name.partition("-")[0]
    return Page(
        what,
        f"swift-{name} /etc/swift/{kind}-server.conf once verbose\nswift-init {name} start\n",
        "0: a pass (once) is over, whatever it found; or it was told to end.\n1: the configuration can't be used, or an error that nobody thought of.\n2: wrong use.\n",
        _CONF.format(kind=kind) + f"Its section is [{name}].\n" + _SWIFT + _RINGS + _DEVICES + _RECON,
    )


def _tool(summary: str, example: str, status: str = _PLAIN, files: str = _SWIFT + _RINGS) -> Page:
    return Page(summary, example + "\n", status, files)


PAGES: dict[str, Page] = {
    "swift-proxy-server": _server("proxy", "the API to clients"),
    "swift-account-server": _server("account", "the databases of accounts"),
    "swift-container-server": _server("container", "the databases of containers"),
    "swift-object-server": _server("object", "objects on the disks of this node"),
    "swift-account-auditor": _daemon("account-auditor", "look through the databases of accounts for damage"),
    "swift-account-reaper": _daemon("account-reaper", "remove what deleted accounts held"),
    "swift-account-replicator": _daemon("account-replicator", "bring databases of accounts to where they belong"),
    "swift-container-auditor": _daemon("container-auditor", "look through the databases of containers for damage"),
    "swift-container-reconciler": Page(
        "move objects that were stored by another policy than their container's",
        "swift-container-reconciler /etc/swift/container-reconciler.conf once verbose\n",
        "0: a pass (once) is over, whatever it found; or it was told to end.\n1: the configuration can't be used.\n2: wrong use.\n",
        "/etc/swift/container-reconciler.conf: its options and the pipeline of its requests.\n" + _SWIFT + _RINGS + _RECON,
    ),
    "swift-container-replicator": _daemon("container-replicator", "bring databases of containers to where they belong"),
    "swift-container-sharder": _daemon("container-sharder", "split large containers into shards, and merge small ones"),
    "swift-container-sync": _daemon("container-sync", "copy objects to the containers of other clusters"),
    "swift-container-updater": _daemon("container-updater", "tell accounts what their containers hold"),
    "swift-object-auditor": _daemon("object-auditor", "read all objects and set aside what is damaged"),
    "swift-object-expirer": _daemon("object-expirer", "delete objects whose time is over"),
    "swift-object-reconstructor": _daemon("object-reconstructor", "make lost fragments anew, and bring fragments to where they belong"),
    "swift-object-replicator": _daemon("object-replicator", "bring copies of objects to where they belong"),
    "swift-object-updater": _daemon("object-updater", "deliver what listings have not been told yet"),
    "swift-s3-lifecycle": _daemon("s3-lifecycle", "do what the lifecycle rules of buckets ask for", "container"),
    "swift-s3-notifier": _daemon("s3-notifier", "deliver events of buckets", "container"),
    "swift-account-audit": _tool("compare the copies of what an account lists", "swift-account-audit AUTH_test/photos", _PLAIN),
    "swift-account-info": _tool("show what is in an account's database", "swift-account-info /srv/node/sdb1/accounts/100/abc/0123456789abcdef0123456789abcabc/0123456789abcdef0123456789abcabc.db", _DATABASE, "The database, and:\n" + _SWIFT + _RINGS),
    "swift-container-info": _tool("show what is in a container's database", "swift-container-info /srv/node/sdb1/containers/100/abc/0123456789abcdef0123456789abcabc/0123456789abcdef0123456789abcabc.db", _DATABASE, "The database, and:\n" + _SWIFT + _RINGS),
    "swift-object-info": _tool("show what is in an object's file", "swift-object-info /srv/node/sdb1/objects/100/abc/0123456789abcdef0123456789abcabc/1700000000.00000.data", "0: it is whole and where it belongs.\n1: it is not, or can't be read.\n2: wrong use.\n", "The file, and:\n" + _SWIFT + _RINGS),
    "swift-get-nodes": _tool("show where something should be", "swift-get-nodes /etc/swift/object.ring.gz AUTH_test photos cat.jpg"),
    "swift-copies": _tool("show each copy of something, and mend them", "swift-copies AUTH_test photos cat.jpg", "", _SWIFT + _RINGS),
    "swift-cluster": _tool("make rings, configurations and services of one description, on all nodes", "swift-cluster plan cluster.toml", "", "cluster.toml: the description; beside it builders, rings and secrets.\n/etc/swift on each node.\n"),
    "swift-config": _tool("show what a configuration comes to", "swift-config --check proxy", "0: done, or --check found nothing wrong.\n1: something is wrong, or there is no such configuration.\n2: wrong use.\n", _CONF.format(kind="KIND")),
    "swift-container-deleter": _tool("have all objects of a container deleted", "swift-container-deleter AUTH_test photos --prefix old/", _PLAIN, "/etc/swift/internal-client.conf: the pipeline of its requests.\n" + _SWIFT + _RINGS),
    "swift-dispersion-populate": _tool("put objects into partitions, for swift-dispersion-report", "swift-dispersion-populate", _PLAIN, "/etc/swift/dispersion.conf: an account, and how many partitions.\n" + _RINGS),
    "swift-dispersion-report": _tool("tell what share of all copies is there", "swift-dispersion-report --dump-json", "", "/etc/swift/dispersion.conf: an account, and how many partitions.\n" + _RINGS),
    "swift-drive-audit": _tool("unmount disks with errors", "swift-drive-audit /etc/swift/drive-audit.conf", "0: done.\n1: it could not be done, or wrong use.\n", "/var/log/kern.*: what the kernel says (option log_file_pattern).\n/etc/fstab: lines of broken disks are commented out.\n" + _RECON),
    "swift-form-signature": _tool("sign a form for uploads", "swift-form-signature /v1/AUTH_test/photos https://example.com/done 5368709120 10 3600 KEY", "0: done.\n1: wrong use.\n", "None.\n"),
    "swift-init": _tool("start and stop servers and daemons", "swift-init main start\nswift-init object-server reload-seamless", "0: done.\n1: something could not be done, or there is no such command.\n2: an option that there is not.\n", "/etc/swift: configurations.\n/var/run/swift/*.pid: what it has started.\n"),
    "swift-manage-shard-ranges": _tool("look at and change how a container is split", "swift-manage-shard-ranges CONTAINER.db find_and_replace 500000 --enable", "0: done.\n1: it could not be done.\n2: wrong use, or ranges that don't fit.\n3: nothing was changed, as somebody wished.\n", "The database that is named; --config names a container-server.conf.\n"),
    "swift-object-relinker": _tool("give objects their places while the part power is raised", "swift-object-relinker relink", _PLAIN, _SWIFT + _RINGS + _DEVICES + _RECON),
    "swift-oldies": _tool("list old processes", "swift-oldies -a 48", "0: done.\n2: wrong use.\n", "/proc.\n"),
    "swift-orphans": _tool("list processes that no pid file knows", "swift-orphans -a 1 -k TERM", "0: done.\n1: a signal that there is not.\n2: wrong use.\n", "/var/run/swift/*.pid, /proc.\n"),
    "swift-recon": _tool("ask servers what they know of themselves", "swift-recon --check replication=2h:1d,unmounted,diskusage=85:92", "0: whatever is found.\nWith --check: 0 well, 1 a warning, 2 critical, 3 not known.\n2: wrong use.\n"),
    "swift-recon-cron": _tool("count the updates that wait on the disks of this node", "swift-recon-cron /etc/swift/object-server.conf", "0: done.\n1: it could not be done, or wrong use.\n", _CONF.format(kind="object") + _DEVICES + _RECON),
    "swift-reconciler-enqueue": _tool("have an object looked at by the container-reconciler", "swift-reconciler-enqueue 1 /AUTH_test/photos/cat.jpg 1700000000.00000"),
    "swift-reload": _tool("have a server start anew without a pause", "swift-reload $MAINPID", "0: it has started anew.\n1: it has not, or its configuration can't be used.\n2: that process is no server of ours, or wrong use.\n238: it did not start anew in time.\n", "/proc.\n"),
    "swift-ring-builder": _tool("make and change rings", "swift-ring-builder object.builder create 14 3 1\nswift-ring-builder object.builder add r1z1-10.0.0.1:6200/sdb1 100\nswift-ring-builder object.builder rebalance", "0: done.\n1: done, with a warning.\n2: it could not be done, or wrong use.\n", "The builder file that is named, backups/ beside it, and the ring.\n"),
    "swift-ring-builder-analyzer": _tool("play changes of a ring in memory", "swift-ring-builder-analyzer scenario.json", _PLAIN, "The scenario.\n"),
    "swift-ring-composer": _tool("make one ring of several builders", "swift-ring-composer composite.json compose a.builder b.builder --output object.ring.gz", "0: done.\n2: it could not be done, or wrong use.\n", "The files that are named.\n"),
    "swift-s3-buckets": _tool("names of buckets, of which there is one in the whole cluster", "swift-s3-buckets show photos", _PLAIN, "/etc/swift/internal-client.conf: the pipeline of its requests.\n" + _SWIFT + _RINGS),
    "swift-s3-keys": _tool("access keys for S3", "swift-s3-keys add test:tester", _PLAIN, "The file that the option s3_keys_file of [filter:tempauth] names, or -f.\n"),
    "swift-s3-orphans": _tool("parts of uploads that nothing is made of", "swift-s3-orphans AUTH_test photos", _PLAIN, "/etc/swift/internal-client.conf: the pipeline of its requests.\n" + _SWIFT + _RINGS),
    "swift-safe-to-pull": _tool("may these disks be pulled?", "swift-safe-to-pull 10.0.0.1/sdb1 10.0.0.1/sdc1", ""),
    "swift-sharding-status": _tool("what sharders do", "swift-sharding-status --json", ""),
    "swift-status": _tool("the state of the cluster on one screen", "swift-status\nswift-status --json", ""),
    "swift-trace": _tool("follow one request through all logs", "swift-trace tx69d0201a2933ca709240c-006b0d6dd0", "", "/var/log/swift, syslog, the journal; or the logs that are named.\n"),
}  # fmt: skip


def page(name: str, help_text: str) -> str:
    """The manual page of section 8. Where `PAGES` tells no exit status, the help does."""
    told = PAGES[name]
    status = told.status or "As its help says, above.\n"
    parts = [
        f'.TH {name.upper()} 8 "" "Object store" "Administration"',
        _section("NAME", f"{name} \\- {_escaped(told.summary)}"),
        _section("SYNOPSIS AND OPTIONS", _as_it_is(help_text)),
        _section("EXIT STATUS", _as_it_is(status)),
        _section("EXAMPLE", _as_it_is(told.example)),
        _section("FILES", _as_it_is(told.files)),
        _section("SEE ALSO", "The operator's guide, in share/doc."),
    ]
    return '.\\" Made by `python -m test.commands write`.\n' + "\n".join(parts) + "\n"


def _section(title: str, text: str) -> str:
    return f'.SH "{title}"\n{text}'


def _as_it_is(text: str) -> str:
    lines = [line.rstrip() for line in text.strip("\n").splitlines()]
    return ".nf\n" + "\n".join(map(_escaped, lines)) + "\n.fi"


def _escaped(line: str) -> str:
    """Nothing in it is a request of roff, and its hyphens can be pasted."""
    text = line.replace("\\", "\\e").replace("-", "\\-")
    return "\\&" + text if text[:1] in (".", "'") else text


def pages(said: dict[str, dict[str, list[Any]]]) -> dict[str, str]:
    """File name → page, of all commands."""
    return {f"{name}.8": page(name, told["help"][1]) for name, told in said.items()}
