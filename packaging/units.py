#!/usr/bin/env python3
"""Writes the units of etc/systemd: one of a kind, so that they differ in nothing but what they must.

packaging/units.py            # writes them; the tests see to it that this was done
"""

import pathlib

ROOT = pathlib.Path(__file__).resolve().parents[1]
FOLDER = ROOT / "etc/systemd"

SERVERS = ("proxy-server", "account-server", "container-server", "object-server")
DAEMONS = (
    "account-auditor", "account-reaper", "account-replicator", "container-auditor", "container-reconciler", "container-replicator",
    "container-sharder", "container-sync", "container-updater", "object-auditor", "object-expirer", "object-reconstructor",
    "object-replicator", "object-updater", "s3-lifecycle", "s3-notifier",
)  # fmt: skip
OWN_FILES = ("container-reconciler", "s3-lifecycle", "s3-notifier")
TITLES = {"s3-lifecycle": "S3 lifecycle rules", "s3-notifier": "S3 event notifier"}
YIELDING = ("-replicator", "-auditor", "-reconstructor", "-sharder")
WITHOUT_DISKS = ("proxy-server", "container-reconciler")

UNIT = """\
# {note}
[Unit]
Description=Object store: {title}
Documentation=file:///usr/share/doc/swift-store/operators-guide.md
After=network-online.target local-fs.target time-sync.target
Wants=network-online.target
PartOf=swift.target

[Service]
Type=notify
User=swift
EnvironmentFile=-/etc/default/swift
ExecStart=swift-{name} {conf}
{reload}LimitNOFILE=65536
Restart=on-failure
RestartSec=5
RuntimeDirectory=swift
RuntimeDirectoryPreserve=yes
CacheDirectory=swift
{logs}{share}{disks}{sandbox}
[Install]
WantedBy=swift.target
"""

# systemd shares a machine among services first, whatever the priorities of their processes are.
SHARE = """\
# What repairs, audits and shards leaves processors and disks to those who serve clients.
CPUWeight=20
IOWeight=20
"""

RELOAD = """\
# New workers on the same sockets, old ones finish what they do: no request is lost.
ExecReload=swift-reload $MAINPID
# Old workers that still serve after a reload belong to us.
KillMode=mixed
"""

DAEMON_RELOAD = """\
# Log level, rates and the like, as the configuration has them now.
ExecReload=/bin/kill -HUP $MAINPID
"""

DISKS = """\
# Disks elsewhere: a drop-in with another ReadWritePaths (systemctl edit).
ReadWritePaths=-/srv/node
"""

# Not LogsDirectory: that would make it the group's and everybody's to read again at each start.
LOGS = """\
# made by tmpfiles, for who has log_file
ReadWritePaths=-/var/log/swift
"""

# /dev/shm stays that of the machine, and nothing is removed from it (RemoveIPC) when a unit stops: processes of a node tell one another
# there what has changed. Not RestrictSUIDSGID: it takes openat2 away, by which databases are read and written without a thread.
SANDBOX = """\
NoNewPrivileges=yes
CapabilityBoundingSet=
ProtectSystem=strict
ProtectHome=yes
ProtectProc=invisible
ProtectClock=yes
ProtectHostname=yes
ProtectControlGroups=yes
ProtectKernelLogs=yes
ProtectKernelModules=yes
ProtectKernelTunables=yes
PrivateDevices=yes
PrivateTmp=yes
LockPersonality=yes
MemoryDenyWriteExecute=yes
RestrictAddressFamilies=AF_INET AF_INET6 AF_UNIX AF_NETLINK
RestrictNamespaces=yes
RestrictRealtime=yes
SystemCallArchitectures=native
SystemCallFilter=@system-service
SystemCallErrorNumber=EPERM
"""

# Counts what waits for container servers, on nodes with object servers.
CRON = """\
# Made by packaging/units.py. Started by swift-recon-cron.timer: systemctl enable --now swift-recon-cron.timer
[Unit]
Description=Object store: counts of updates that wait
ConditionPathExists=/etc/swift/object-server.conf

[Service]
Type=oneshot
User=swift
ExecStart=swift-recon-cron /etc/swift/object-server.conf
RuntimeDirectory=swift
RuntimeDirectoryPreserve=yes
CacheDirectory=swift
{logs}# where its lock is
ReadWritePaths=-/srv/node -/run/lock
{sandbox}"""

TIMER = """\
[Unit]
Description=Object store: every five minutes, counts of updates that wait
PartOf=swift.target

[Timer]
OnCalendar=*:0/5
RandomizedDelaySec=30

[Install]
WantedBy=swift.target timers.target
"""

TARGET = """\
[Unit]
Description=Object store: everything that is enabled on this machine

[Install]
WantedBy=multi-user.target
"""


def unit(name: str, instance: bool) -> str:
    """The text of swift-NAME.service, or of the template swift-NAME@.service."""
    kind = name if name in OWN_FILES else f"{name.partition('-')[0]}-server"
    conf = f"/etc/swift/{kind}/%i.conf" if instance else f"/etc/swift/{kind}.conf"
    title = TITLES.get(name, name.replace("-", " "))
    return UNIT.format(
        note=f"For several on a machine: swift-{name}@1 is the one of {conf.replace('%i', '1')}."
        if instance
        else "Made by packaging/units.py; what is changed on a machine belongs in a drop-in (systemctl edit).",
        title=title + (", %i" if instance else ""),
        name=name,
        conf=conf,
        reload=RELOAD if name in SERVERS else DAEMON_RELOAD,
        logs=LOGS,
        share=SHARE if name.endswith(YIELDING) else "",
        disks="" if name in WITHOUT_DISKS else DISKS,
        sandbox=SANDBOX,
    )


def files() -> dict[str, str]:
    """Name → text."""
    found = {
        "swift.target": TARGET,
        "swift-recon-cron.service": CRON.format(logs=LOGS, sandbox=SANDBOX),
        "swift-recon-cron.timer": TIMER,
    }
    for name in (*SERVERS, *DAEMONS):
        found[f"swift-{name}.service"] = unit(name, False)
        found[f"swift-{name}@.service"] = unit(name, True)
    return found


if __name__ == "__main__":
    for file, text in files().items():
        (FOLDER / file).write_text(text)
