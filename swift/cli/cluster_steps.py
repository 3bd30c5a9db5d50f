"""Texts of swift-cluster: a description to begin with, and what is to be done by hand on each node."""

from __future__ import annotations

import hashlib
import re
import shlex

from swift.deploy.described import STORAGE_ROLES, Description, Node
from swift.deploy.services import services

_LONGEST_LABEL = 12

EXAMPLE = """\
# A cluster, from which swift-cluster makes rings, configuration files and a list of services for each node.
# Below is what a description needs; what is behind a hash shows the defaults.

[cluster]
name = "store"
part_power = 12              # 2^12 partitions: about 100 a disk of the largest cluster that you foresee, times replicas
# replicas = 3               # copies of accounts and containers
# min_part_hours = 1         # between two moves of a partition
# overload = 0.0
# few_zones = false          # true: copies may share a zone
# memcached = []             # "10.0.0.1:11211", for tokens and caches that proxies share
# user = "swift"             # who runs the servers
# manager = "systemd"        # or "swift-init"; "none": services are somebody else's, as in containers
# auth = "tempauth"          # users from here; or "keystone"
# without = []               # daemons that are not to run, such as "s3-lifecycle"
# signing = "off"            # of requests between nodes: "sign" for the time of a roll-out, then "require"; only if no node is the reference
# signing_keys = ["k1"]      # their names; the keys are made. To change them without a pause: add one at the end, push; put it first, push; take the old one out, push
# commands = "/usr/bin"      # where swift-… are on the nodes; /opt/swift/bin for a virtual environment

[policies.gold]
index = 0
default = true
# replicas = 3

# [policies.ec42]
# index = 1
# type = "erasure_coding"
# ec_type = "isa_l_rs_vand"
# data = 4
# parity = 2

[users]                      # ACCOUNT:USER; without a key one is made: swift-cluster show-key test:tester
"test:tester" = { groups = ".admin" }
"admin:admin" = { groups = ".admin .reseller_admin" }

[defaults]                   # of all nodes
roles = ["proxy", "storage"] # storage: account, container and object
# region = 1
# devices = "/srv/node"
disks = { sdb1 = 100 }       # name below devices = weight (say, GB), or { weight = 100, holds = ["accounts", "containers", "gold"] }

[nodes.s1]
address = "10.0.0.1"
zone = 1
# replication_address = "10.1.0.1"
# ssh = "root@10.0.0.1"      # the address

[nodes.s2]
address = "10.0.0.2"
zone = 2

[nodes.s3]
address = "10.0.0.3"
zone = 3

# What differs from the defaults: [options.FILE."SECTION"], for all nodes or for one of them.
# [options.proxy-server."DEFAULT"]
# workers = 8
# [nodes.s1.options.object-server."app:object-server"]
# disk_stall_timeout = 20
# [options.proxy-server."filter:authtoken"]
# password = { secret = "keystone" }   # swift-cluster secret keystone < FILE
"""


def _label(name: str) -> str:
    """What XFS has room for, another one for each disk: fstab finds disks by it."""
    if len(name) <= _LONGEST_LABEL and re.fullmatch(r"[A-Za-z0-9._-]+", name):
        return name
    return hashlib.sha256(name.encode()).hexdigest()[:_LONGEST_LABEL]


def _in_fstab(path: str) -> str:
    return "".join(f"\\{ord(c):03o}" if c in " \t\\" else c for c in path)


def steps(description: Description, node: Node) -> str:
    """Pasteable, as root on that node; what swift-cluster does itself stands last."""
    lines = [f"# {node.name} ({node.address}): {', '.join(node.roles)}"]
    lines += [
        "# the software: the Debian package, or a virtual environment",
        "apt-get install ./swift-store_*.deb",
    ]
    if set(node.roles) & set(STORAGE_ROLES):
        lines.append("# each disk: put its device in the place of DEVICE, which loses all that is on it")
        for disk in node.disks:
            place = shlex.quote(f"{node.devices}/{disk.name}")
            label = _label(disk.name)
            entry = shlex.quote(
                f"LABEL={label} {_in_fstab(node.devices + '/' + disk.name)} xfs noatime,nodiratime,logbufs=8,nofail 0 0"
            )
            lines += [
                f"mkfs.xfs -i size=1024 -L {label} DEVICE",
                f"mkdir -p {place} && printf '%s\\n' {entry} >> /etc/fstab",
                f"mount {place} && chown {description.user}: {place}",
            ]
    lines += [
        "# from where the description is:",
        f"swift-cluster push --nodes {node.name} --activate",
        f"# which then has running: {', '.join(services(description, node))}",
        "",
    ]
    return "\n".join(lines)
