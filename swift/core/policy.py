"""Storage policies: what `[storage-policy:N]` of swift.conf says, and where a policy's rings and directories lie.

Kinds of policies register themselves by their `policy_type`; what a kind needs a library for (erasure coding: `fragments`) lives in a
module of its own. A type that no module here knows stops no server: its policy has its name, index and ring, and objects of it are
refused by whoever is asked for them. Rings are loaded by swift.ring: here are only their file names.

Spec: proxy-and-backend 7, 27.3; ring.md 14.1.
"""

from __future__ import annotations

import functools
import os
import string
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from swift.coding.fragments import Codec, offered_types
from swift.core.config import DEFAULT_SWIFT_DIR, csv_list, swift_conf, truthy
from swift.core.errors import ConfigError

LEGACY_NAME = "Policy-0"
REPLICATION = "replication"
ERASURE_CODING = "erasure_coding"
MAX_SEGMENT = 256 << 20  # bytes; so much is held in memory for each transfer

_NAME_CHARS = frozenset(string.ascii_letters + string.digits + "-")


class PolicyError(ValueError):
    """A policy definition that breaks a rule; the text is the reason."""


def quorum_size(count: int) -> int:
    """How many of `count` answers decide."""
    return (count + 1) // 2


class StoragePolicy:
    """One policy. `aliases` are all its names, the main one first; names are case-insensitive.

    `options`: the raw options of the section, for kinds that know more of them (`OWN_OPTIONS`).
    """

    policy_type = ""
    is_served = True  # False: this installation cannot keep objects of such a policy
    OWN_OPTIONS: frozenset[str] = frozenset()
    DEFAULT_DISKFILE = "egg:swift#replication.fs"

    def __init__(
        self,
        idx: int,
        name: str,
        aliases: Iterable[str] = (),
        is_default: bool = False,
        is_deprecated: bool = False,
        diskfile_module: str | None = None,
        options: Mapping[str, str] | None = None,
    ) -> None:
        self.idx = idx
        self.aliases: list[str] = []
        for alias in (name, *aliases):
            _check_name(alias, idx)
            if alias.upper() in (known.upper() for known in self.aliases):
                raise PolicyError(f"Duplicate name {alias!r} in policy {idx}")
            self.aliases.append(alias)
        self.is_default = is_default
        self.is_deprecated = is_deprecated
        if is_default and is_deprecated:
            raise PolicyError(
                f"Deprecated policy can not be default. Invalid config for policy {name!r} ({idx})"
            )
        self.diskfile_module = diskfile_module or self.DEFAULT_DISKFILE
        self.ring_name = "object" if idx == 0 else f"object-{idx}"

    @property
    def name(self) -> str:
        return self.aliases[0]

    def __int__(self) -> int:
        return self.idx

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.idx}, {self.aliases!r})"

    @property
    def unserved(self) -> str:
        """What those are told who ask for objects of a policy that is not served here."""
        return (
            f"Storage policy {self.name} ({self.idx}): objects of type {self.policy_type} are not served here"
        )

    def quorum(self, replicas: int) -> int:
        """How many nodes must acknowledge the PUT of an object to a ring of so many replicas."""
        return quorum_size(replicas)

    def delete_quorum(self, replicas: int) -> int:
        """How many nodes must acknowledge what is the same on all of them: a deletion, or new metadata."""
        return quorum_size(replicas)

    def check_replicas(self, replicas: float) -> None:
        """Raises ConfigError if this policy can't be served by a ring of so many replicas."""

    def info(self) -> dict[str, Any]:
        """What /info shows of the policy."""
        shown: dict[str, Any] = {"name": self.name, "aliases": ", ".join(self.aliases)}
        if self.is_default:
            shown["default"] = True
        return shown

    def directory(self, base: str) -> str:
        """The name of a per-policy directory: `objects`, `objects-1`."""
        return base if self.idx == 0 else f"{base}-{self.idx}"


_registry: dict[str, type[StoragePolicy]] = {}


def register_policy_type(name: str) -> Callable[[type[StoragePolicy]], type[StoragePolicy]]:
    """Class decorator: policies with `policy_type = <name>` are made from the class."""

    def register(cls: type[StoragePolicy]) -> type[StoragePolicy]:
        cls.policy_type = name
        _registry[name] = cls
        return cls

    return register


@register_policy_type(REPLICATION)
class ReplicatedPolicy(StoragePolicy):
    """Whole copies of each object."""


@register_policy_type(ERASURE_CODING)
class ErasurePolicy(StoragePolicy):
    """Fragments of each object: `codec` says how; `segment_size`: bytes that are encoded at a time; `duplication`: copies of each fragment."""

    OWN_OPTIONS = frozenset(
        (
            "ec_type",
            "ec_num_data_fragments",
            "ec_num_parity_fragments",
            "ec_object_segment_size",
            "ec_duplication_factor",
        )
    )
    DEFAULT_DISKFILE = "egg:swift#erasure_coding.fs"

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        options: Mapping[str, str] = kwargs.get("options") or {}
        ec_type = options.get("ec_type", "")
        if not ec_type:
            raise PolicyError(f"Missing ec_type of policy {self.name!r} ({self.idx})")
        offered = offered_types()
        if ec_type not in offered:
            raise PolicyError(
                f"Wrong ec_type {ec_type!r} for policy {self.name!r} ({self.idx}), "
                f"should be one of {', '.join(offered)}"
            )
        data = self._whole("ec_num_data_fragments", options.get("ec_num_data_fragments", ""))
        parity = self._whole("ec_num_parity_fragments", options.get("ec_num_parity_fragments", ""))
        self.segment_size = self._whole(
            "ec_object_segment_size", options.get("ec_object_segment_size", "1048576")
        )
        self.duplication = self._whole("ec_duplication_factor", options.get("ec_duplication_factor", "1"))
        if self.segment_size > MAX_SEGMENT:
            raise PolicyError(f"Invalid ec_object_segment_size {self.segment_size} of policy {self.name!r}")
        if ec_type == "isa_l_rs_vand" and parity >= 5 and not self.is_deprecated:
            raise PolicyError(
                f"Policy {self.name!r} ({self.idx}) uses isa_l_rs_vand with {parity} parity fragments, by which data "
                "can be lost: such a policy must be deprecated"
            )
        self.codec = Codec(ec_type, data, parity)
        try:
            self.codec.load()
        except ValueError as error:
            raise PolicyError(
                f"Policy {self.name!r} ({self.idx}): the library can't encode so: {error}"
            ) from None

    def _whole(self, name: str, text: str) -> int:
        if not (text.isascii() and text.isdigit() and 0 < len(text) < 12 and int(text) > 0):
            raise PolicyError(f"Invalid {name} {text!r} for policy {self.name!r} ({self.idx})")
        return int(text)

    @property
    def replicas(self) -> int:
        """How many its ring must have."""
        return self.codec.total * self.duplication

    def fragment_of(self, position: int) -> int:
        """The index of the fragment that belongs on the primary at this position of the ring."""
        return position % self.codec.total

    def quorum(self, replicas: int) -> int:
        return (self.codec.data + self.codec.min_parity) * self.duplication

    def check_replicas(self, replicas: float) -> None:
        if replicas != self.replicas:
            raise ConfigError(
                f"EC ring for policy {self.name} needs to be configured with exactly {self.replicas} replicas. "
                f"Got {replicas:g}."
            )


class UnservedPolicy(StoragePolicy):
    """A policy of a type that this installation does not know; options of its own are not looked at."""

    is_served = False

    def __init__(self, policy_type: str, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.policy_type = policy_type

    def quorum(self, replicas: int) -> int:
        """Nothing is written here. Raises PolicyError."""
        raise PolicyError(self.unserved)


def _check_name(name: str, idx: int) -> None:
    if not name:
        raise PolicyError(f"Invalid name for policy {idx}: it is empty")
    if not _NAME_CHARS.issuperset(name):
        raise PolicyError(f"Invalid name {name!r} for policy {idx}: only letters, digits and - are allowed")
    if name.upper() == LEGACY_NAME.upper() and idx != 0:
        raise PolicyError(
            f"The name {LEGACY_NAME} is reserved for policy index 0. Invalid name for policy {idx}"
        )


class PolicyCollection:
    """All policies of a cluster, by index and by name. Raises PolicyError for a set that breaks a rule."""

    def __init__(self, policies: Iterable[StoragePolicy]) -> None:
        self._ordered = sorted(policies, key=lambda policy: policy.idx)
        if not self._ordered:
            self._ordered = [ReplicatedPolicy(0, LEGACY_NAME, is_default=True)]
        self._by_index: dict[int, StoragePolicy] = {}
        self._by_name: dict[str, StoragePolicy] = {}
        for policy in self._ordered:
            if policy.idx in self._by_index:
                raise PolicyError(f"Duplicate index {policy.idx}")
            self._by_index[policy.idx] = policy
            for name in policy.aliases:
                if name.upper() in self._by_name:
                    raise PolicyError(
                        f"Duplicate name {name!r} in policies {self._by_name[name.upper()].idx} and {policy.idx}"
                    )
                self._by_name[name.upper()] = policy
        if 0 not in self._by_index:
            raise PolicyError("No policy with index 0 is defined; it must exist if any is")
        if all(policy.is_deprecated for policy in self._ordered):
            raise PolicyError("No policies found that aren't deprecated")
        defaults = [policy for policy in self._ordered if policy.is_default]
        if len(defaults) > 1:
            raise PolicyError(
                "Duplicate default policies: " + ", ".join(str(policy.idx) for policy in defaults)
            )
        if not defaults:
            if len(self._ordered) > 1:
                raise PolicyError(
                    "Unable to find default policy: exactly one of several policies must be the default"
                )
            self._ordered[0].is_default = True
            defaults = self._ordered
        self.default = defaults[0]
        self.legacy = self._by_index[0]

    def __iter__(self) -> Iterator[StoragePolicy]:
        return iter(self._ordered)

    def __len__(self) -> int:
        return len(self._ordered)

    def __getitem__(self, idx: int) -> StoragePolicy:
        return self._by_index[idx]

    def get_by_index(self, index: Any) -> StoragePolicy | None:
        """By number or its text; empty and None mean 0. None if there is no such policy."""
        policy = self._by_index.get(index)
        if policy is not None:
            return policy
        if index in ("", None):
            return self.legacy
        try:
            return self._by_index.get(int(index))
        except (TypeError, ValueError):
            return None

    def get_by_name(self, name: str) -> StoragePolicy | None:
        """By any of its names, in any case."""
        return self._by_name.get(name.upper())

    def get_by_name_or_index(self, text: str) -> StoragePolicy | None:
        return self.get_by_name(text) or self.get_by_index(text)

    def info(self) -> list[dict[str, Any]]:
        """The policies as /info lists them: without deprecated ones."""
        return [policy.info() for policy in self._ordered if not policy.is_deprecated]

    def split_directory(self, name: str) -> tuple[str, StoragePolicy]:
        """`objects-1` → (`objects`, policy 1). Raises PolicyError for an unknown or oddly written index."""
        base, sep, index = name.rpartition("-")
        if not sep:
            return name, self.legacy
        policy = self._by_index.get(int(index)) if index.isascii() and index.isdigit() else None
        if policy is None or policy.directory(base) != name:
            raise PolicyError(f"Unknown policy in {name!r}")
        return base, policy


def _parse_policy(idx: int, options: Mapping[str, str]) -> StoragePolicy:
    policy_type = options.get("policy_type", REPLICATION)
    cls = _registry.get(policy_type)
    if cls is not None:
        known = {
            "name",
            "aliases",
            "policy_type",
            "default",
            "deprecated",
            "diskfile_module",
            *cls.OWN_OPTIONS,
        }
        for option in options:
            if option not in known:
                raise PolicyError(
                    f"Invalid option {option!r} in storage-policy section 'storage-policy:{idx}'"
                )
    if "name" not in options:
        raise PolicyError(f"Missing name of policy {idx}")
    make = functools.partial(UnservedPolicy, policy_type) if cls is None else cls
    return make(
        idx,
        options["name"],
        csv_list(options.get("aliases")),
        truthy(options.get("default")),
        truthy(options.get("deprecated")),
        options.get("diskfile_module"),
        options=options,
    )


def parse_policies(sections: Mapping[str, Mapping[str, str]]) -> PolicyCollection:
    """The policies of swift.conf's sections. Raises PolicyError."""
    found = []
    for section, options in sections.items():
        if not section.startswith("storage-policy:"):
            continue
        index = section.partition(":")[2].strip()
        if not (index.isascii() and index.isdigit()):
            raise PolicyError(f"Invalid index in section [{section}]")
        found.append(_parse_policy(int(index), options))
    return PolicyCollection(found)


_policies: PolicyCollection | None = None


def set_policies(collection: PolicyCollection) -> PolicyCollection:
    """Makes these the process's policies."""
    global _policies
    _policies = collection
    return collection


def load_policies(swift_dir: str = DEFAULT_SWIFT_DIR) -> PolicyCollection:
    """Reads `<swift_dir>/swift.conf` and makes its policies the process's. Raises ConfigError."""
    try:
        return set_policies(parse_policies(swift_conf(swift_dir)))
    except PolicyError as err:
        path = os.path.join(swift_dir, "swift.conf")
        raise ConfigError(f"ERROR: Invalid Storage Policy Configuration in {path} ({err})") from None


def policies() -> PolicyCollection:
    """The process's policies, read from the default swift.conf if none were loaded."""
    return _policies if _policies is not None else load_policies()
