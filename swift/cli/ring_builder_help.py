"""What swift-ring-builder tells people about its commands. Only words live here."""

from __future__ import annotations

VERSION = "1.3"

SEARCH = """\
A <search-value> names devices by any of these parts, in this order and without spaces between them:

    d<id> r<region> z<zone> -<ip> :<port> R<replication ip>:<replication port> /<device> _<meta>

    d74                device 74                     r4        all of region 4
    z1-10.0.0.5        zone 1 and that address       :6200     all with that port
    R10.1.0.5          that replication address      /sdb1     all named sdb1
    _rack7             meta contains "rack7"         [::1]     IPv6 goes in brackets
    d74r4z1-10.0.0.5:6200/sdb1_rack7                 all of these at once

The same as options: -u/--id -r/--region -z/--zone -i/--ip -p/--port -j/--replication-ip -q/--replication-port
-d/--device -w/--weight -m/--meta. Only the options can hold host names. Values that begin with "-" go behind "--"."""

_POWER_WARNING = """
    prepare, swift-object-relinker relink, increase, swift-object-relinker cleanup, finish: each step needs write_ring and the new
    ring on all nodes before the next one, and the relinker to have ended without an error on all of them. Meanwhile the policy is
    not replicated, and its ring can't be rebalanced."""

COMMANDS = {
    "show": """\
swift-ring-builder <builder_file> [--json]

    Shows the ring's figures and a table of its devices. The flag DEL marks devices that the next rebalance removes.""",
    "add": """\
swift-ring-builder <builder_file> add
    [r<region>]z<zone>-<ip>:<port>[R<replication ip>:<replication port>]/<device>[_<meta>] <weight> [...]
swift-ring-builder <builder_file> add --region <n> --zone <n> --ip <ip or host> --port <n> --device <name>
    --weight <weight> [--replication-ip <ip or host>] [--replication-port <n>] [--meta <text>]

    Adds devices. They get their partitions at the next rebalance.""",
    "cancel_increase_partition_power": """\
swift-ring-builder <builder_file> cancel_increase_partition_power

    Gives up an increase that was prepared but not made. Run the relinker's cleanup afterwards, then finish.
"""
    + _POWER_WARNING,
    "create": """\
swift-ring-builder <builder_file> create <part_power> <replicas> <min_part_hours>

    Makes a new builder of 2^<part_power> partitions; an existing file is overwritten (its copies stay in backups/).
    A partition is not moved again within <min_part_hours> of its last move.""",
    "diff": """\
swift-ring-builder diff <file> <file> [--json]

    Shows what differs between two rings or builders: settings, devices, and how many replicas of partitions lie
    elsewhere. Exit 0: no difference, 1: differences, 2: error.""",
    "dispersion": """\
swift-ring-builder <builder_file> dispersion [<pattern>] [-v/--verbose] [--recalculate] [--json]

    Tells how many replicas share a failure domain more than necessary, and which tier is worst.
    <pattern>: a regular expression that tier names must match from their start, e.g. "r\\d+z\\d+$" for zones.
    --verbose: a table of tiers: replicas placed in it, percent of them too many, the most that one partition should
    have there, then how many partitions have 0, 1, 2 ... replicas there.
    --recalculate: count again instead of using the counts kept in the builder.""",
    "finish_increase_partition_power": """\
swift-ring-builder <builder_file> finish_increase_partition_power

    Ends an increase (or its cancellation) after the relinker's cleanup ran on all nodes.
"""
    + _POWER_WARNING,
    "increase_partition_power": """\
swift-ring-builder <builder_file> increase_partition_power

    Doubles the number of partitions, after prepare and after the relinker's relink ran on all nodes.
"""
    + _POWER_WARNING,
    "list_parts": """\
swift-ring-builder <builder_file> list_parts <search-value> [<search-value> ...] [--json]
swift-ring-builder <builder_file> list_parts <search options> [--json]

    Lists the partitions on the matching devices and how many of their replicas are there, most first.""",
    "prepare_increase_partition_power": """\
swift-ring-builder <builder_file> prepare_increase_partition_power

    Announces that the partition power will grow by one, so that new objects are linked into both places.
"""
    + _POWER_WARNING,
    "pretend_min_part_hours_passed": """\
swift-ring-builder <builder_file> pretend_min_part_hours_passed

    Allows every partition to move at the next rebalance. Objects can become unreachable for a while if replication
    has not finished since the last one.""",
    "rebalance": """\
swift-ring-builder <builder_file> rebalance [<seed>] [options]

    Assigns partitions to devices as weights and failure domains ask, moving as few as possible, and writes builder
    and ring. Exit 1: saved with a warning, or nothing worth saving (see the output, or "status" with --json).""",
    "remove": """\
swift-ring-builder <builder_file> remove <search-value> [<search-value> ...] [--yes]
swift-ring-builder <builder_file> remove <search options> [--yes]

    Marks devices for removal: the next rebalance gives all their partitions away at once. Meant for dead devices; to
    retire a healthy one set its weight to 0, let it drain, then remove it.""",
    "search": """\
swift-ring-builder <builder_file> search <search-value> [--json]
swift-ring-builder <builder_file> search <search options> [--json]

    Shows the matching devices.""",
    "set_info": """\
swift-ring-builder <builder_file> set_info <search-value> <change> [<search-value> <change> ...] [--yes]
swift-ring-builder <builder_file> set_info <search options> [--change-ip <ip or host>] [--change-port <n>]
    [--change-replication-ip <ip or host>] [--change-replication-port <n>] [--change-device <name>]
    [--change-meta <text>] [--yes]

    Changes address, name or meta of devices; no partition moves, write_ring is enough to use it.
    A <change> is <ip>:<port>[R<replication ip>:<replication port>]/<device>_<meta>, any part of it.""",
    "set_min_part_hours": """\
swift-ring-builder <builder_file> set_min_part_hours <hours>

    Sets how long a partition stays where it is after a move: longer than a replication pass takes.""",
    "set_overload": """\
swift-ring-builder <builder_file> set_overload <factor>[%]

    Sets how much more than its weight asks a device may take for the sake of dispersion (0.1 or 10%).""",
    "set_region": """\
swift-ring-builder <builder_file> set_region <search-value> <region> [<search-value> <region> ...] [--yes]
swift-ring-builder <builder_file> set_region <search options> <region> [--yes]

    Moves devices to another region; takes effect at the next rebalance.""",
    "set_replicas": """\
swift-ring-builder <builder_file> set_replicas <replicas>

    Sets the replica count; with a fraction some partitions have one more than others. Takes effect at the next
    rebalance.""",
    "set_weight": """\
swift-ring-builder <builder_file> set_weight <search-value> <weight> [<search-value> <weight> ...] [--yes]
swift-ring-builder <builder_file> set_weight <search options> <weight> [--yes]

    Sets weights; takes effect at the next rebalance. --weight is a search option here: the old weight.""",
    "set_zone": """\
swift-ring-builder <builder_file> set_zone <search-value> <zone> [<search-value> <zone> ...] [--yes]
swift-ring-builder <builder_file> set_zone <search options> <zone> [--yes]

    Moves devices to another zone; takes effect at the next rebalance.""",
    "validate": """\
swift-ring-builder <builder_file> validate

    Checks that every replica of every partition is on a device of its own. Silent when all is well.""",
    "version": """\
swift-ring-builder <ring_file> version

    Shows file format and build version of a ring file.""",
    "write_builder": """\
swift-ring-builder <ring_file> write_builder [<min_part_hours>]

    Makes a builder from a ring when the builder is lost (min_part_hours, overload and history are not in a ring).""",
    "write_ring": """\
swift-ring-builder <builder_file> write_ring [--format-version 1|2] [--dev-id-bytes 2|4]

    Writes the ring file as the builder stands; needed after set_info and the partition power commands.""",
}

_WITH_SEARCH = ("list_parts", "remove", "search", "set_info", "set_region", "set_weight", "set_zone")


def command_help(command: str, with_search_help: bool = True) -> str:
    text = COMMANDS[command]
    return f"{text}\n\n{SEARCH}" if with_search_help and command in _WITH_SEARCH else text


def overview() -> str:
    """What is shown when no argument is given."""
    names = [name for name in COMMANDS if name != "show"]
    lines, line = [], "Quick list:"
    for name in names:
        if len(line) + 1 + len(name) > 79:
            lines.append(line)
            line = " " * 11
        line += f" {name}"
    lines.append(line)
    return "\n\n".join(
        [
            f"swift-ring-builder {VERSION}",
            *COMMANDS.values(),
            SEARCH,
            "\n".join(lines),
            "Exit codes: 0 = operation successful\n            1 = operation completed with warnings\n"
            "            2 = error",
        ]
    )
