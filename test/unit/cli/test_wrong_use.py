"""What commands say, where, and with which status of exit, when they are used in a wrong way: scripts look at all three.

The table was made beside the reference's commands; where they differ, doc/compatibility.md says so. Lines are those of a shell.
"""

import json
import shlex
import shutil
import subprocess
import sys

import pytest

from test.commands import ROOT

OUT, ERR = 1, 2
# what is there before
BEFORE = """
swift-ring-builder object.builder create 6 3 0
swift-ring-builder object.builder add r1z1-127.0.0.1:6200/sdb1 100 r1z2-127.0.0.1:6200/sdb2 100 r1z3-127.0.0.1:6200/sdb3 100
swift-ring-builder object.builder rebalance
swift-ring-builder empty.builder create 6 3 1
"""
FILES = {
    "swift.conf": "[swift-hash]\nswift_hash_path_suffix = golden\n[storage-policy:0]\nname = gold\ndefault = yes\n",
    "empty.conf": "",
    "garbage.conf": "this is no\nini file at all\n",
    "object.conf": "[DEFAULT]\n[object-server]\n",
    "broken.json": '{"x": 1',
    "garbage.ring.gz": "not a ring",
    "garbage.builder": "not a builder",
    "plain.data": "data",
}
# the command line | status and stream | how the line begins that says what is wrong
TABLE = r"""
swift-account-info | 0 out | -s, --sync            show how far replication with each peer is
swift-account-info /nonexistent/x.conf | 1 out | DB file doesn't exist
swift-account-info /nonexistent.db | 1 out | DB file doesn't exist
swift-config | 1 err | ERROR: specify type of server or conf_path
swift-config garbage.conf | 1 err | Unable to read config from garbage.conf (garbage.conf, line 1: before the first
swift-config -s | 2 err | swift-config: error: -s option requires 1 argument
swift-container-deleter | 2 err | swift-container-deleter: error: the following arguments are required: account, c
swift-container-deleter AUTH_x | 2 err | swift-container-deleter: error: the following arguments are required: container
swift-container-deleter AUTH_x c --request-tries x | 2 err | swift-container-deleter: error: argument --request-tries: invalid int value: 'x'
swift-container-info | 0 out | -s, --sync            show how far replication with each peer is
swift-container-info /nonexistent/x.conf | 1 out | DB file doesn't exist
swift-container-info /nonexistent.db | 1 out | DB file doesn't exist
swift-dispersion-populate /nonexistent/x.conf | 1 err | Unable to read config file: /nonexistent/x.conf
swift-dispersion-populate garbage.conf | 1 err | Unable to read config file: garbage.conf
swift-dispersion-populate --policy-name | 2 err | swift-dispersion-populate: error: --policy-name option requires 1 argument
swift-dispersion-report /nonexistent/x.conf | 1 err | Unable to read config file: /nonexistent/x.conf
swift-dispersion-report garbage.conf | 1 err | Unable to read config file: garbage.conf
swift-drive-audit | 1 out | Usage: swift-drive-audit CONF_FILE
swift-drive-audit /nonexistent/x.conf | 1 out | Unable to read config file /nonexistent/x.conf
swift-drive-audit garbage.conf | 1 out | Unable to read config file garbage.conf
swift-drive-audit empty.conf | 1 out | Unable to find drive-audit config section in empty.conf
swift-form-signature | 1 out | Syntax: swift-form-signature
swift-form-signature /v1/a/c | 1 out | Syntax: swift-form-signature
swift-form-signature /v1/a/c http://r x 1 60 key | 1 out | Please use a <max_file_size> value greater than or equal to 0.
swift-form-signature /v1/a/c http://r 100 0 60 key | 1 out | Please use a positive <max_file_count> value.
swift-get-nodes | 1 err | ERROR: Need to specify policy_name or <ring.gz>
swift-get-nodes object.ring.gz | 1 err | ERROR: No target specified
swift-get-nodes -p x object.ring.gz | 1 out | invalid literal for int() with base 10: 'x'
swift-get-nodes a c o | 1 err | ERROR: Need to specify policy_name or <ring.gz>
swift-get-nodes object.ring.gz / | 1 out | No target specified
swift-manage-shard-ranges | 2 err | swift-manage-shard-ranges: error: the following arguments are required: path_to_
swift-manage-shard-ranges /nonexistent.db show | 1 err | DB doesn't exist
swift-manage-shard-ranges container.db find x | 2 err | swift-manage-shard-ranges path_to_file find: error: argument rows_per_shard: inv
swift-manage-shard-ranges container.db replace /nonexistent | 2 err | Failed to open file /nonexistent
swift-manage-shard-ranges garbage.conf analyze | 2 err | Failed to load valid shard range data:
swift-manage-shard-ranges container.db merge garbage.conf | 2 err | Failed to load valid shard range data:
swift-object-info | 0 out | name of the storage policy that the file should belong to
swift-object-info /nonexistent/x.conf | 1 out | Data file doesn't exist
swift-object-info garbage.conf | 1 out | Invalid metadata
swift-object-relinker | 2 err | swift-object-relinker: error: the following arguments are required: action
swift-object-relinker relink garbage.conf | 1 err | Unable to read config from garbage.conf (garbage.conf, line 1: before the first
swift-object-relinker relink --partition x | 2 err | swift-object-relinker: error: argument --partition/-p: invalid non_negative_int
swift-object-relinker relink --files-per-second -1 | 2 err | swift-object-relinker: error: argument --files-per-second: invalid non_negative_
swift-recon-cron | 1 out | ex: swift-recon-cron /etc/swift/object-server.conf
swift-recon-cron /nonexistent/x.conf | 1 err | Unable to read config from /nonexistent/x.conf (No such file or directory)
swift-recon-cron garbage.conf | 1 err | Unable to read config from garbage.conf (garbage.conf, line 1: before the first
swift-reload | 2 err | swift-reload: error: the following arguments are required: pid
swift-reload x | 2 err | swift-reload: error: argument pid: invalid int value: 'x'
swift-reload 0 | 2 err | Failed to get process information for 0
swift-ring-builder /nonexistent/x.conf | 2 out | Ring Builder file does not exist: /nonexistent/x.conf
swift-ring-builder create | 2 out | Ring Builder file does not exist: create
swift-ring-builder new.builder create 8 0 1 | 2 out | replicas must be at least 1 (was 0.000000)
swift-ring-builder nonexist.builder add r1z1-1.2.3.4:6200/sda 1 | 2 out | Ring Builder file does not exist: nonexist.builder
swift-ring-builder object.builder add r1z1-1.2.3.4:6200/sda x | 2 out | The on-disk ring builder is unchanged.
swift-ring-builder object.builder add --ip 1.2.3.4 | 2 out | The on-disk ring builder is unchanged.
swift-ring-builder object.builder list_parts | 2 out | -d/--device -w/--weight -m/--meta. Only the options can hold host names. Values
swift-ring-builder object.builder set_weight z99 1 | 2 out | The on-disk ring builder is unchanged.
swift-ring-builder object.builder set_info z1 | 2 out | -d/--device -w/--weight -m/--meta. Only the options can hold host names. Values
swift-ring-builder object.builder remove | 2 out | -d/--device -w/--weight -m/--meta. Only the options can hold host names. Values
swift-ring-builder object.builder rebalance | 1 out | There is no need to do so at this time
swift-ring-builder empty.builder write_ring | 2 out | Unable to write empty ring.
swift-ring-builder object.builder set_min_part_hours x | 2 out | invalid literal for int() with base 10: 'x'
swift-ring-builder object.builder set_replicas 0 | 2 out | Replica count must be at least 1.
swift-ring-builder-analyzer | 2 err | swift-ring-builder-analyzer: error: the following arguments are required: scenar
swift-ring-builder-analyzer /nonexistent/x.conf | 1 err | Error opening scenario /nonexistent/x.conf
swift-ring-builder-analyzer /nonexistent | 1 err | Error opening scenario /nonexistent
swift-ring-composer | 2 err | swift-ring-composer: error: the following arguments are required: composite_buil
swift-ring-composer c.comp nosuch | 2 err | swift-ring-composer: error: argument show|compose: invalid choice: 'nosuch' (cho
swift-ring-composer c.comp compose object.builder | 2 err | swift-ring-composer composite_builder_file compose: error: the following argumen
swift-account-audit -c | 2 out | swift-account-audit -c 25 -d < errors.txt
swift-account-audit -c x AUTH_x | 2 out | swift-account-audit -c 25 -d < errors.txt
swift-account-audit -r | 2 out | swift-account-audit -c 25 -d < errors.txt
swift-oldies -a x | 2 err | swift-oldies: error: option -a: invalid integer value: 'x'
swift-oldies -a | 2 err | swift-oldies: error: -a option requires 1 argument
swift-orphans -a x | 2 err | swift-orphans: error: option -a: invalid integer value: 'x'
swift-recon -t x -r | 2 err | swift-recon: error: option -t: invalid floating-point value: 'x'
swift-recon --region x -r | 2 err | swift-recon: error: option --region: invalid integer value: 'x'
swift-recon --swiftdir | 2 err | swift-recon: error: --swiftdir option requires 1 argument
swift-reconciler-enqueue 1 | 0 out | -f, --force     replace an entry that is newer: it is recorded as of now
swift-reconciler-enqueue 0 /a/c/o 1700000000.00000 -X NOSUCH | 2 err | swift-reconciler-enqueue: error: option -X: invalid choice: 'NOSUCH'
"""
ROWS = [tuple(part.strip() for part in row.split(" | ")) for row in TABLE.strip().splitlines()]


@pytest.fixture(scope="module")
def said(tmp_path_factory):
    home = tmp_path_factory.mktemp("wrong")
    for name, text in FILES.items():
        (home / name).write_text(text)
    databases = ROOT / "test/golden/db/devices/sda1"
    for kind in ("account", "container"):
        shutil.copy(sorted((databases / f"{kind}s").rglob("*.db"))[0], home / f"{kind}.db")
    before = [shlex.split(line) for line in BEFORE.strip().splitlines()]
    lines = [shlex.split(row[0]) for row in ROWS]
    done = subprocess.run(
        [sys.executable, "-m", "test.commands", "run"],
        input=json.dumps(before + lines),
        cwd=home,
        env={"PATH": "/usr/bin:/bin", "PYTHONPATH": str(ROOT), "COLUMNS": "200"},
        capture_output=True,
        text=True,
        timeout=900,
    )
    assert not done.returncode, done.stderr
    return dict(zip((row[0] for row in ROWS), json.loads(done.stdout)[len(before) :], strict=True))


@pytest.mark.parametrize(("line", "where", "told"), ROWS, ids=[row[0] for row in ROWS])
def test_it_says_what_is_wrong(said, line, where, told):
    status, stream = where.split()
    found = said[line]
    assert found[0] == int(status), found
    assert any(
        one.lstrip().startswith(told) for one in found[OUT if stream == "out" else ERR].splitlines()
    ), found
    assert "Traceback" not in found[OUT] + found[ERR]
