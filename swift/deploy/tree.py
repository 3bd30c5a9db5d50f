"""The folder with a copy of what each node has: OUT/NODE/etc/swift/…

What lives here: comparing it with what is wanted, and writing it. What never does: what is wanted, or sending it anywhere.
"""

from __future__ import annotations

import configparser
import hashlib
import json
import os
import shutil
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from swift.deploy.described import Description, DescriptionError, Node
from swift.deploy.services import files_of, services
from swift.deploy.state import State
from swift.engine.durable import fsync_dir, write_durable
from swift.ring.errors import RingError
from swift.ring.format import RingData

MANIFEST = "cluster.json"


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


@dataclass(frozen=True)
class NodeTree:
    """A node's files, as they are in the folder. `manifest`: what they are to be, and what is to run."""

    node: Node
    folder: str

    @classmethod
    def of(cls, out: str, node: Node) -> NodeTree:
        return cls(node, os.path.join(os.path.abspath(out), node.name, node.swift_dir.strip("/")))

    def manifest(self) -> dict[str, Any]:
        """Empty if nothing was applied yet. Raises DescriptionError."""
        path = os.path.join(self.folder, MANIFEST)
        try:
            with open(path, encoding="utf-8") as file:
                found = json.load(file)
            return {"files": dict(found["files"]), "services": dict(found["services"]), **found}
        except FileNotFoundError:
            return {}
        except (ValueError, TypeError, KeyError):
            raise DescriptionError(
                [f"{path} is damaged: remove {os.path.dirname(path)} and apply again"]
            ) from None

    def write(self, manifest: Mapping[str, Any], texts: Mapping[str, str], rings: Mapping[str, str]) -> None:
        """`rings`: name → path of the ring to be linked. The manifest comes last: without it there is nothing to push."""
        os.makedirs(self.folder, mode=0o700, exist_ok=True)
        for name, text in texts.items():
            write_durable(os.path.join(self.folder, name), text.encode())
        for name, source in rings.items():
            _link(source, os.path.join(self.folder, name))
        for name in os.listdir(self.folder):
            if name not in manifest["files"] and name != MANIFEST:
                os.unlink(os.path.join(self.folder, name))
        fsync_dir(self.folder)
        write_durable(os.path.join(self.folder, MANIFEST), _manifest_text(manifest))

    def check(self) -> None:
        """Raises DescriptionError if a person has changed what is here: the change belongs into the description."""
        for name, wanted in self.manifest().get("files", {}).items():
            path = os.path.join(self.folder, name)
            try:
                with open(path, "rb") as file:
                    same = digest(file.read()) == wanted
            except OSError:
                same = False
            if not same:
                raise DescriptionError(
                    [
                        f"{path} is not what was applied; apply writes it anew, changes belong into the description"
                    ]
                )


def _manifest_text(manifest: Mapping[str, Any]) -> bytes:
    return (json.dumps(manifest, indent=1, sort_keys=True) + "\n").encode()


def _link(source: str, target: str) -> None:
    beside = target + ".tmp"
    if os.path.lexists(beside):
        os.unlink(beside)
    try:
        os.link(source, beside)
    except OSError:
        shutil.copyfile(source, beside)
    os.rename(beside, target)


def make_manifest(
    description: Description,
    node: Node,
    texts: Mapping[str, str],
    rings: Mapping[str, str],
    versions: Mapping[str, int],
) -> dict[str, Any]:
    """`rings`: name → digest, `versions`: name → build version. `services`: each with the files that it reads."""
    digests = {name: digest(text.encode()) for name, text in texts.items()} | dict(rings)
    return {
        "cluster": description.name,
        "node": node.name,
        "files": digests,
        "rings": dict(versions),
        "services": {service: files_of(service) for service in services(description, node)},
    }


def changed_options(before: str, after: str) -> list[str]:
    """`[section] option` for each that came, went or has another value: values may be secret."""
    old, new = _options(before), _options(after)
    keys = [key for key in new if old.get(key) != new[key]] + [key for key in old if key not in new]
    return [f"[{section}] {option}" for section, option in keys]


def _options(text: str) -> dict[tuple[str, str], str]:
    parser = configparser.RawConfigParser(default_section="", strict=False, comment_prefixes=("#", ";"))
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    parser.read_string(text)
    return {
        (section, option): value for section in parser.sections() for option, value in parser.items(section)
    }


def differences(
    tree: NodeTree, manifest: Mapping[str, Any], texts: Mapping[str, str], changed_rings: Iterable[str]
) -> list[str]:
    """What `write` would change, for people."""
    before = tree.manifest()
    had = before.get("files", {})
    rings = set(changed_rings)
    lines = []
    for name, wanted in manifest["files"].items():
        if name not in had:
            lines.append(f"+ {name}")
        elif name.endswith(".ring.gz"):
            if name in rings or had[name] != wanted:
                lines.append(f"~ {name}")
        elif had[name] != wanted and not name.endswith(".conf"):
            lines.append(f"~ {name}")
        elif had[name] != wanted:
            try:
                with open(os.path.join(tree.folder, name), encoding="utf-8") as file:
                    options = changed_options(file.read(), texts[name])
            except (OSError, ValueError, configparser.Error):
                options = []
            told = ", ".join(options[:8]) + (f" and {len(options) - 8} more" if len(options) > 8 else "")
            lines.append(f"~ {name}" + (f": {told}" if told else ""))
    lines += [f"- {name}" for name in had if name not in manifest["files"]]
    old, new = before.get("services", {}), manifest["services"]
    lines += [f"+ service {name}" for name in new if name not in old] if before else []
    lines += [f"- service {name}" for name in old if name not in new]
    return lines


def stale_nodes(out: str, description: Description) -> list[str]:
    """Folders of nodes that are not described any more."""
    names = {node.name for node in description.nodes}
    try:
        return sorted(entry.name for entry in os.scandir(out) if entry.is_dir() and entry.name not in names)
    except FileNotFoundError:
        return []


def ring_digests(state: State, rings: Iterable[str]) -> dict[str, str]:
    """Name of the file → digest, of those that are there."""
    found = {}
    for ring in rings:
        try:
            with open(state.ring_file(ring), "rb") as file:
                found[f"{ring}.ring.gz"] = digest(file.read())
        except FileNotFoundError:
            found[f"{ring}.ring.gz"] = ""
    return found


def ring_versions(state: State, rings: Iterable[str]) -> dict[str, int]:
    """Name of the file → build version, of those that are there and have one."""
    found = {}
    for ring in rings:
        try:
            version = RingData.load_metadata(state.ring_file(ring), with_devices=False).version
        except (OSError, RingError, ValueError):
            continue
        if version is not None:
            found[f"{ring}.ring.gz"] = version
    return found
