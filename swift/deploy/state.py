"""What is kept beside a description: builders and rings, and the secrets that are made once.

What lives here: reading and writing that folder. What never does: what is in rings, what is told to nodes.
"""

from __future__ import annotations

import base64
import contextlib
import json
import os
import secrets
from collections.abc import Iterator
from typing import Any

from swift.core.config import read_ini
from swift.core.errors import ConfigError
from swift.deploy.described import Description, DescriptionError, Secret
from swift.engine.durable import write_durable
from swift.ring.builder import RingBuilder, builder_lock
from swift.ring.errors import RingBuilderError

LOCK_SECONDS = 5.0
_FILE = "secrets.json"
_ADVICE = "it holds what decides where data is found: bring it back from a backup"


class State:
    """A folder for nobody else to read. `secrets`: name → text."""

    def __init__(self, folder: str) -> None:
        self.folder = os.path.abspath(folder)
        self.secrets: dict[str, str] = {}
        self.policies: dict[
            str, dict[str, str]
        ] = {}  # section of swift.conf → its options, as they were applied last
        self._read()

    def _read(self) -> None:
        path = os.path.join(self.folder, _FILE)
        try:
            with open(path, encoding="utf-8") as file:
                kept: Any = json.load(file)
            self.secrets = {str(name): str(text) for name, text in kept["secrets"].items()}
            self.policies = {str(name): dict(options) for name, options in kept["policies"].items()}
        except FileNotFoundError:
            # an empty folder is a beginning; one with builders has lost what goes with them
            if self.ring_names():
                raise DescriptionError([f"{path} is not there, but builders are: {_ADVICE}"]) from None
        except (ValueError, TypeError, KeyError, AttributeError):
            raise DescriptionError([f"{path} is damaged; {_ADVICE}"]) from None

    def save(self) -> None:
        os.makedirs(self.folder, mode=0o700, exist_ok=True)
        text = (
            json.dumps({"secrets": self.secrets, "policies": self.policies}, indent=1, sort_keys=True) + "\n"
        )
        write_durable(os.path.join(self.folder, _FILE), text.encode())

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Nobody else changes it meanwhile; what was read before may be old. Raises DescriptionError."""
        os.makedirs(self.folder, mode=0o700, exist_ok=True)
        try:
            with builder_lock(self.builder_file("object"), LOCK_SECONDS):
                self._read()
                yield
        except RingBuilderError as err:
            raise DescriptionError([f"{self.folder}: {err}"]) from None

    # -- secrets

    def make_secrets(self, description: Description) -> list[str]:
        """Makes those that are missing; their names. Raises DescriptionError where data is found by what is missing."""
        wanted = {
            "swift_hash_path_prefix": lambda: secrets.token_hex(16),
            "swift_hash_path_suffix": lambda: secrets.token_hex(16),
            "token_key": lambda: base64.urlsafe_b64encode(os.urandom(32)).decode(),
            "sts_key": lambda: base64.b64encode(os.urandom(32)).decode(),
        }
        for user in description.users:
            if user.key is None:
                wanted[f"user {user.full_name}"] = lambda: secrets.token_hex(16)
        if description.signing != "off":
            wanted |= {
                f"signing key {key_id}": lambda: secrets.token_hex(32) for key_id in description.signing_keys
            }
        made = [name for name in wanted if name not in self.secrets]
        lost = [name for name in made if name.startswith("swift_hash_path_")]
        if lost and self.ring_names():
            raise DescriptionError(
                [f"{self.folder}/{_FILE} has no {lost[0]}, but builders are there; {_ADVICE}"]
            )
        for name in made:
            self.secrets[name] = wanted[name]()
        return made

    def value(self, value: str | Secret) -> str:
        """Raises DescriptionError for a secret that nobody has told yet."""
        if isinstance(value, str):
            return value
        if value.name not in self.secrets:
            raise DescriptionError(
                [f"the secret {value.name} is not there yet: swift-cluster secret {value.name} < FILE"]
            )
        return self.secrets[value.name]

    # -- rings

    def builder_file(self, ring: str) -> str:
        return os.path.join(self.folder, f"{ring}.builder")

    def ring_file(self, ring: str) -> str:
        return os.path.join(self.folder, f"{ring}.ring.gz")

    def ring_names(self) -> list[str]:
        try:
            names = os.listdir(self.folder)
        except FileNotFoundError:
            return []
        return sorted(name.removesuffix(".builder") for name in names if name.endswith(".builder"))

    def builder(self, ring: str) -> RingBuilder | None:
        """None if there is none yet. Raises DescriptionError."""
        try:
            return RingBuilder.load(self.builder_file(ring))
        except FileNotFoundError:
            return None
        except (OSError, RingBuilderError, ValueError) as err:
            raise DescriptionError([f"{self.builder_file(ring)}: {err}"]) from None


def adopt(state: State, directory: str) -> list[str]:
    """Takes over the hash settings and the builders of a cluster that is there; says what. Raises DescriptionError, OSError."""
    if state.secrets or state.ring_names():
        raise DescriptionError([f"{state.folder} holds a cluster already"])
    path = os.path.join(directory, "swift.conf")
    try:
        sections = read_ini(path)
    except ConfigError as err:
        raise DescriptionError([str(err)]) from None
    hashing = sections.get("swift-hash", {})
    names = sorted(name for name in os.listdir(directory) if name.endswith(".builder"))
    if not names:
        raise DescriptionError(
            [
                f"{directory} has no *.builder files (swift-ring-builder X.ring.gz write_builder makes one of a ring)"
            ]
        )
    builders = []
    for name in names:
        try:
            builders.append((name, RingBuilder.load(os.path.join(directory, name))))
        except (OSError, RingBuilderError, ValueError) as err:
            raise DescriptionError([f"{os.path.join(directory, name)}: {err}"]) from None
    for key in ("swift_hash_path_prefix", "swift_hash_path_suffix"):
        state.secrets[key] = hashing.get(key) or ""
    if not any(state.secrets.values()):
        raise DescriptionError([f"{path} has no hash prefix and suffix in [swift-hash]"])
    state.policies = {
        name: options for name, options in sections.items() if name.startswith("storage-policy:")
    }
    state.save()
    for name, builder in builders:
        builder.save(os.path.join(state.folder, name))
    return [
        f"hash settings and policies of {path}",
        *(f"{name}, version {builder.version}" for name, builder in builders),
    ]
