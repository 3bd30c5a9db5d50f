"""What runs on a node when something is brought to it. Its source is sent there and run by any Python from 3.7 on.

What lives here: all that is done on the other side: comparing, putting files in their places, starting and reloading. What never
does: imports of this tree, or of anything beyond the standard library, since there may be nothing yet.

Standard input: a line of JSON (the request), then, for `put`, a tar archive. Standard output: a line of JSON (the answer).
"""

import fcntl
import grp
import hashlib
import json
import os
import pwd
import re
import shutil
import stat
import subprocess
import sys
import tarfile

MANIFEST, NOTES = "cluster.json", ".activated.json"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_SERVERS = ("proxy-server", "account-server", "container-server", "object-server")


class Refused(Exception):
    """Nothing was changed; the text says why."""


def main():
    request = json.loads(sys.stdin.buffer.readline().decode())
    try:
        answer = {"look": look, "put": put, "activate": activate}[request["do"]](request)
    except Refused as err:
        answer = {"refused": str(err)}
    except (OSError, ValueError, KeyError, tarfile.TarError, subprocess.SubprocessError) as err:
        answer = {"refused": f"{type(err).__name__}: {err}"}
    sys.stdout.write(json.dumps(answer) + "\n")
    sys.stdout.flush()


def digest(path):
    found = hashlib.sha256()
    try:
        with open(path, "rb") as file:
            for block in iter(lambda: file.read(1 << 20), b""):
                found.update(block)
    except FileNotFoundError:
        return ""
    return found.hexdigest()


def manifest_of(directory):
    try:
        with open(os.path.join(directory, MANIFEST)) as file:
            found = json.load(file)
        return found if isinstance(found, dict) and isinstance(found.get("files"), dict) else {}
    except (OSError, ValueError):
        return {}


def hash_settings(path):
    """What decides where data is found, of a swift.conf; None if there is none."""
    try:
        with open(path, errors="replace") as file:
            text = file.read()
    except OSError:
        return None
    found = re.findall(
        r"^[ \t]*swift_hash_path_(prefix|suffix)[ \t]*[=:][ \t]*(.*?)[ \t\r]*$", text, re.MULTILINE
    )
    return {name: value for name, value in dict(found).items() if value} or None


def look(request):
    """What is there of the files asked for, and what runs of the services."""
    directory = request["swift_dir"]
    before = manifest_of(directory)
    names = sorted(set(request["files"]) | set(before.get("files", {})))
    services = sorted(set(request["services"]) | set(before.get("services", {})))
    return {
        "files": {name: digest(os.path.join(directory, name)) for name in names if _NAME.fullmatch(name)},
        "pushed": before.get("files", {}),
        "cluster": before.get("cluster", ""),
        "node": before.get("node", ""),
        "pushed_services": before.get("services", {}),
        "running": running(request, services),
        "python": f"{sys.version_info[0]}.{sys.version_info[1]}",
        "missing_commands": [] if request["commands_are_there"] else missing_commands(request),
    }


def missing_commands(request):
    path = request["commands"] + os.pathsep + os.environ.get("PATH", "")
    return sorted(name for name in request["services"] if not shutil.which("swift-" + name, path=path))


# -- putting files into their places


def put(request):
    """Puts all files that came into their places, or none if one of them can't be put there."""
    directory, manifest = request["swift_dir"], request["manifest"]
    os.makedirs(directory, mode=0o755, exist_ok=True)
    lock = os.open(
        os.path.join(directory, ".pushing"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600
    )
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        raise Refused("somebody else is pushing to it")
    beside = os.path.join(directory, ".pushed")
    shutil.rmtree(beside, ignore_errors=True)
    os.mkdir(beside, 0o700)
    try:
        enter(beside)  # from here on it has no path that somebody who owns the directory could lead elsewhere
        unpack(".", manifest["files"])
        check(directory, ".", request)
        return move(directory, ".", request)
    finally:
        shutil.rmtree(beside, ignore_errors=True)
        os.close(lock)


def enter(path):
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        if os.fstat(fd).st_uid != os.geteuid():
            raise Refused(path + " belongs to somebody else")
        os.fchdir(fd)
    finally:
        os.close(fd)


def unpack(beside, wanted):
    with tarfile.open(fileobj=sys.stdin.buffer, mode="r|") as archive:
        for member in archive:
            if not member.isfile() or not _NAME.fullmatch(member.name) or member.name not in wanted:
                raise Refused(f"an unexpected file came: {member.name!r}")
            source = archive.extractfile(member)
            assert source is not None
            fd = os.open(os.path.join(beside, member.name), os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(fd, "wb") as target:
                shutil.copyfileobj(source, target, 1 << 20)
                target.flush()
                os.fsync(fd)
    for name in os.listdir(beside):
        if digest(os.path.join(beside, name)) != wanted[name]:
            raise Refused(f"{name} came damaged")


def check(directory, beside, request):
    """Refuses what would make data unfindable, or write over what a person has changed here."""
    wanted = request["manifest"]["files"]
    came = set(os.listdir(beside))
    for name in sorted(set(wanted) - came):
        if digest(os.path.join(directory, name)) != wanted[name]:
            raise Refused(f"{name} was changed meanwhile: push again")
    if "swift.conf" in came:
        old = hash_settings(os.path.join(directory, "swift.conf"))
        if old is not None and old != hash_settings(os.path.join(beside, "swift.conf")):
            raise Refused(
                "its swift.conf has other hash settings: data that is there would not be found (swift-cluster adopt takes over those of a cluster)"
            )
    before = manifest_of(directory)
    if before and before.get("cluster") != request["manifest"]["cluster"]:
        raise Refused("it belongs to the cluster " + str(before.get("cluster")))
    if before and before.get("node") != request["manifest"]["node"]:
        raise Refused("it is the node " + str(before.get("node")))
    older = older_rings(before, request["manifest"])
    if older and not request["overwrite"]:
        raise Refused(
            f"it has a newer {older[0]}: is this an older copy of the folder with the builders? Data has moved since; --overwrite brings it all the same"
        )
    pushed = before.get("files", {})
    changed = []
    for name in sorted(came):
        there = digest(os.path.join(directory, name))
        if there and there not in (wanted[name], pushed.get(name, "")):
            changed.append(name)
    if changed and not request["overwrite"]:
        what = "changed there since the last push" if before else "there, and not of a push"
        raise Refused(f"{what}: {', '.join(changed)}; --overwrite keeps FILE.replaced of each")
    for name in changed:  # the file itself, with its owner and mode: what it may point to is not read, what .replaced may, not written
        kept = os.path.join(beside, name + ".replaced")
        os.link(os.path.join(directory, name), kept, follow_symlinks=False)
        os.rename(kept, os.path.join(directory, name + ".replaced"))
        if os.path.lexists(kept):  # both were the same file already
            os.unlink(kept)


def older_rings(before, manifest):
    """Those by which data would be looked for where it was once."""
    had, come = before.get("rings", {}), manifest.get("rings", {})
    return sorted(name for name in come if name in had and come[name] < had[name])


def ids_of(user):
    """(group of the files, mode): readable by the servers' user, and by nobody else."""
    if os.geteuid():
        return -1, 0o600
    try:
        return pwd.getpwnam(user).pw_gid, 0o640
    except KeyError:
        try:
            return grp.getgrnam(user).gr_gid, 0o640
        except KeyError:
            return -1, 0o600


def hand_over(directory, user):
    """Gives what was put here before there was such a user to it."""
    group, mode = ids_of(user)
    if group < 0:
        return
    for name in sorted(manifest_of(directory).get("files", {})):
        if not _NAME.fullmatch(name):
            continue
        try:
            fd = os.open(os.path.join(directory, name), os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        except OSError:
            continue
        try:
            found = os.fstat(fd)
            if stat.S_ISREG(found.st_mode) and not found.st_uid and stat.S_IMODE(found.st_mode) == 0o600:
                os.fchown(fd, -1, group)
                os.fchmod(fd, mode)
        finally:
            os.close(fd)


def move(directory, beside, request):
    manifest = request["manifest"]
    before = manifest_of(directory).get("files", {})
    group, mode = ids_of(request["user"])
    changed = sorted(os.listdir(beside))
    with open(os.path.join(beside, MANIFEST), "w") as file:
        json.dump(manifest, file, indent=1, sort_keys=True)
        file.write("\n")
        file.flush()
        os.fsync(file.fileno())
    for name in [*changed, MANIFEST]:
        path = os.path.join(beside, name)
        os.chown(path, -1, group)
        os.chmod(path, mode)
    for name in changed:
        os.rename(os.path.join(beside, name), os.path.join(directory, name))
    removed, kept = [], []
    for name in sorted(set(before) - set(manifest["files"])):
        path = os.path.join(directory, name)
        if not _NAME.fullmatch(name) or not os.path.exists(path):
            continue
        if digest(path) == before[name]:
            os.unlink(path)
            removed.append(name)
        else:
            kept.append(name)
    os.rename(os.path.join(beside, MANIFEST), os.path.join(directory, MANIFEST))
    fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
    return {"changed": changed, "removed": removed, "kept": kept}


# -- servers and daemons


def call(words, request):
    environ = dict(
        os.environ, PATH=request["commands"] + os.pathsep + os.environ.get("PATH", "/usr/bin:/bin")
    )
    done = subprocess.run(
        words,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env=environ,
        timeout=request["timeout"],
    )
    return done.returncode, done.stdout.decode(errors="replace").strip()


def service(request, verb, names):
    """One command about services: (exit status, what it said)."""
    if request["manager"] == "systemd":
        words = {"start": ["enable", "--now"], "stop": ["disable", "--now"], "status": ["is-active"]}
        units = [f"swift-{name}.service" for name in names]
        return call(["systemctl", *words.get(verb, [verb]), *units], request)
    verb = {"reload": "reload-seamless"}.get(verb, verb)
    directories = ["--run-dir", request["run_dir"], "--swift-dir", request["swift_dir"]]
    return call(["swift-init", *names, verb, *directories], request)


def running(request, names):
    """Name → whether it runs."""
    names = list(names)
    if not names or request["manager"] == "none":
        return {}
    try:
        said = service(request, "status", names)[1].splitlines()
    except FileNotFoundError:  # there is no such command here yet
        return dict.fromkeys(names, False)
    if request["manager"] == "systemd":  # a line for each unit
        return {
            name: at < len(said) and said[at].strip() in ("active", "reloading")
            for at, name in enumerate(names)
        }
    found = {line.partition(" running (")[0] for line in said if " running (" in line}
    return {name: name in found for name in names}


def activate(request):
    """Starts what is to run and does not, has what runs read what has changed, stops what is no longer wanted here.

    What each service has read is noted once it has done so: a run that is cut short is made up for by the next one.
    """
    directory, wanted = request["swift_dir"], request["services"]
    noted = read_notes(directory)
    hand_over(directory, request["user"])
    unwanted = sorted((set(noted) | set(request["stop"])) - set(wanted))
    runs = running(request, [*unwanted, *wanted])
    read = {
        name: {file: digest(os.path.join(directory, file)) for file in files}
        for name, files in wanted.items()
    }
    changed = [name for name in wanted if runs[name] and noted.get(name) != read[name]]
    systemd = request["manager"] == "systemd"
    work = [
        # what has failed or was stopped is still enabled, and would be there again with the machine
        ("stop", [name for name in unwanted if runs[name] or systemd]),
        ("start", [name for name in wanted if not runs[name]]),
        ("reload", [name for name in changed if name in _SERVERS]),
        ("restart", [name for name in changed if name not in _SERVERS]),
    ]
    done, failed = [], []
    if systemd and wanted:  # which the machine starts, and which wants all services that are enabled
        code, said = call(["systemctl", "enable", "swift.target"], request)
        if code:
            failed.append(f"enable swift.target: {said.splitlines()[-1] if said else code}")
    for verb, names in work:
        if not names:
            continue
        code, said = service(request, verb, names)
        if code and verb != "stop":
            last = said.splitlines()[-1] if said else f"exit status {code}"
            failed.append(f"{verb} {' '.join(names)}: {last}")
        else:
            done.append(f"{verb} {' '.join(names)}")
            noted.update((name, read.get(name)) for name in names)
    for name in unwanted:
        noted.pop(name, None)
    still = [name for name, runs_on in running(request, unwanted).items() if runs_on]
    if still:
        failed.append(f"stop {' '.join(still)}: still there")
        noted.update(dict.fromkeys(still))
    write_notes(directory, noted)
    return {"done": done, "failed": failed}


def write_notes(directory, noted):
    beside = os.path.join(directory, NOTES + ".new")
    if os.path.lexists(beside):
        os.unlink(beside)
    fd = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
    with os.fdopen(fd, "w") as file:
        json.dump(noted, file)
    os.rename(beside, os.path.join(directory, NOTES))


def read_notes(directory):
    try:
        with open(os.path.join(directory, NOTES)) as file:
            found = json.load(file)
        return found if isinstance(found, dict) else {}
    except (OSError, ValueError):
        return {}


if __name__ == "__main__":
    main()
