"""The configuration files of a node: what differs from the defaults, and nothing else.

What lives here: file names → text. What never does: rings, writing.
"""

from __future__ import annotations

import base64
from collections.abc import Iterable, Mapping

from swift.deploy.described import Description, DescriptionError, Node, policy_sections
from swift.deploy.services import possible
from swift.deploy.state import State

Sections = dict[str, dict[str, str]]

SIGNING_KEYS = "backend-keys"
_PIPELINE = (
    "catch_errors gatekeeper healthcheck proxy-logging cache listing_formats container_sync bulk tempurl formpost ratelimit {auth} "
    "staticweb copy container-quotas account-quotas slo dlo versioned_writes symlink customer_keys object_lock proxy-logging proxy-server"
)
_AUTH = {
    "tempauth": "s3api tempauth console",
    "keystone": "authtoken s3api s3token keystoneauth console",
}
# What is called otherwise than its entry point.
_ENTRY_POINTS = {
    "proxy-logging": "proxy_logging",
    "cache": "memcache",
    "container-quotas": "container_quotas",
    "account-quotas": "account_quotas",
}
_AUTHTOKEN = {
    "paste.filter_factory": "keystonemiddleware.auth_token:filter_factory",
    "auth_type": "password",
    "project_name": "service",
    "user_domain_id": "default",
    "project_domain_id": "default",
    "delay_auth_decision": "True",
    "cache": "swift.cache",
    "include_service_catalog": "False",
    "service_token_roles": "service",
    "service_token_roles_required": "True",
}
_NEEDED = {"filter:authtoken": ("auth_url", "username", "password"), "filter:s3token": ("auth_uri",)}
_HEADER = "# Made by swift-cluster of the description of the cluster {cluster}, for {node}: a change belongs there.\n"


def pipeline(auth: str) -> str:
    """A proxy's, whole. `auth`: tempauth or keystone."""
    return _PIPELINE.format(auth=_AUTH[auth])


def entry_point(name: str) -> str:
    """Of the filter that a pipeline calls by this name."""
    return _ENTRY_POINTS.get(name, name)


def files(description: Description, node: Node, state: State) -> dict[str, str]:
    """Name in /etc/swift → text. Raises DescriptionError."""
    made: dict[str, Sections] = {"swift": _swift(description, state)}
    if "proxy" in node.roles:
        made["proxy-server"] = _proxy(description, node, state)
    for role in ("account", "container", "object"):
        if role in node.roles:
            made[f"{role}-server"] = _storage(description, node, role)
    if {"container", "object"} & set(node.roles):
        made["internal-client"] = _internal(description, node, {})
    if "container" in node.roles:
        made["container-reconciler"] = _internal(
            description, node, {"container-reconciler": _share(description.of_role("container"), node)}
        )
        made["s3-lifecycle"] = {
            "DEFAULT": {**_where(description, node, storage=True), "ring_ip": node.address},
            "s3-lifecycle": _cache(node),
        }
        if "s3-notifier" in possible(description, node):
            made["s3-notifier"] = {
                "DEFAULT": {**_where(description, node, storage=True), "ring_ip": node.address},
                "s3-notifier": _cache(node),
            }
    for options in (description.options, node.options):
        for file, sections in options.items():
            for section, values in sections.items():
                if file in made:
                    own = made[file].setdefault(section, {})
                    own |= {name: state.value(value) for name, value in values.items()}
    if "proxy-server" in made:
        asked = {
            section
            for options in (description.options, node.options)
            for section in options.get("proxy-server", {})
        }
        _name_filters(made["proxy-server"], asked)
    head = _HEADER.format(cluster=description.name, node="all of its nodes")
    mine = _HEADER.format(cluster=description.name, node=node.name)
    found = {
        f"{file}.conf": (head if file == "swift" else mine) + _text(sections)
        for file, sections in made.items()
    }
    if description.signing != "off":
        keys = [f"{key_id} {state.secrets['signing key ' + key_id]}\n" for key_id in description.signing_keys]
        found[SIGNING_KEYS] = "".join(keys)
    return found


def _text(sections: Sections) -> str:
    blocks = []
    for section, options in sections.items():
        if options or section != "DEFAULT":
            lines = [f"[{section}]"] + [f"{name} = {value}".rstrip() for name, value in options.items()]
            blocks.append("\n".join(lines) + "\n")
    return "\n" + "\n".join(blocks)


def _swift(description: Description, state: State) -> Sections:
    names = ("swift_hash_path_prefix", "swift_hash_path_suffix")
    hashing = {name: state.secrets[name].replace("%", "%%") for name in names}
    found = {"swift-hash": hashing, **policy_sections(description.policies)}
    if description.signing != "off":
        found["backend-security"] = {"signing": description.signing}
    return found


def _where(description: Description, node: Node, storage: bool = False) -> dict[str, str]:
    """Paths and user, where they are not the usual ones."""
    found = {}
    if node.swift_dir != "/etc/swift":
        found["swift_dir"] = node.swift_dir
    if description.user != "swift":
        found["user"] = description.user
    if storage and node.devices != "/srv/node":
        found["devices"] = node.devices
    return found


def _cache(node: Node) -> dict[str, str]:
    return {} if node.cache_dir == "/var/cache/swift" else {"recon_cache_path": node.cache_dir}


def _internal_client(node: Node) -> dict[str, str]:
    if node.swift_dir == "/etc/swift":
        return {}
    return {"internal_client_conf_path": f"{node.swift_dir}/internal-client.conf"}


def _share(nodes: Iterable[Node], node: Node) -> dict[str, str]:
    """Work that several processes of a cluster divide among them."""
    names = [one.name for one in nodes]
    if len(names) < 2:
        return {}
    return {"processes": str(len(names)), "process": str(names.index(node.name))}


# -- proxies --------------------------------------------------------------------------------------------------------------


def _proxy(description: Description, node: Node, state: State) -> Sections:
    made: Sections = {
        "DEFAULT": {
            "bind_ip": node.address,
            "bind_port": str(node.ports["proxy"]),
            **_where(description, node),
        },
        "pipeline:main": {"pipeline": pipeline(description.auth)},
        "app:proxy-server": {"use": "egg:swift#proxy", "account_autocreate": "true"},
        "filter:versioned_writes": {"allow_versioned_writes": "true", "allow_object_versioning": "true"},
        "filter:s3api": {"sts_key": state.secrets["sts_key"]},
    }
    if description.memcached:
        made["filter:cache"] = {"memcache_servers": ",".join(description.memcached)}
    if description.auth == "tempauth":
        made["app:proxy-server"]["allow_account_management"] = "true"
        made["filter:tempauth"] = {
            "fernet_key_cluster": state.secrets["token_key"],
            "active_fernet_key_id": "cluster",
            **{
                _user_option(
                    user.account, user.name
                ): f"{user.key or state.secrets['user ' + user.full_name]} {user.groups}".rstrip()
                for user in description.users
            },
        }
    else:
        made["filter:authtoken"] = dict(_AUTHTOKEN)
    return made


def _user_option(account: str, name: str) -> str:
    if not {"_", "="} & set(account + name):
        return f"user_{account}_{name}"
    coded = (base64.b64encode(text.encode()).decode().rstrip("=") for text in (account, name))
    return "user64_" + "_".join(coded)


def _name_filters(made: Sections, asked: set[str]) -> None:
    """Gives each element of the pipeline its section, and takes those away that are not in it and that nobody `asked` for."""
    elements = made["pipeline:main"]["pipeline"].split()
    for name in dict.fromkeys(elements[:-1]):
        options = made.pop(f"filter:{name}", {})
        if "paste.filter_factory" not in options:
            options = {"use": f"egg:swift#{entry_point(name)}", **options}
        made[f"filter:{name}"] = options
        missing = [option for option in _NEEDED.get(f"filter:{name}", ()) if option not in options]
        if missing:
            raise DescriptionError([f'[options.proxy-server."filter:{name}"] lacks {", ".join(missing)}'])
    for section in list(made):
        if section.startswith("filter:") and section.removeprefix("filter:") not in elements:
            if section in asked:
                raise DescriptionError(
                    [
                        f'[options.proxy-server."{section}"] is without effect: it is not in the pipeline ({" ".join(elements)})'
                    ]
                )
            del made[section]


# -- storage nodes --------------------------------------------------------------------------------------------------------


def _storage(description: Description, node: Node, role: str) -> Sections:
    cache, internal = _cache(node), _internal_client(node)
    # one process for both networks, where there are two
    every = "::" if ":" in node.address + node.replication_address else "0.0.0.0"
    bind_ip = node.address if node.address == node.replication_address else every
    made: Sections = {
        "DEFAULT": {
            "bind_ip": bind_ip,
            "bind_port": str(node.ports[role]),
            **({"ring_ip": node.address} if bind_ip != node.address else {}),
            **_where(description, node, storage=True),
        },
        "pipeline:main": {"pipeline": f"healthcheck recon {role}-server"},
        f"app:{role}-server": {"use": f"egg:swift#{role}"},
        "filter:healthcheck": {"use": "egg:swift#healthcheck"},
        "filter:recon": {"use": "egg:swift#recon", **cache},
    }
    own = ("container-reconciler", "s3-lifecycle", "s3-notifier", f"{role}-server")
    for service in possible(description, node):
        if service.startswith(f"{role}-") and service not in own:
            made[service] = dict(cache)
    if "object-expirer" in made:
        made["object-expirer"] = {
            "dequeue_from_legacy": "true",
            **_share(description.of_role("object"), node),
            **internal,
            **cache,
        }
    if role == "container":
        for name in {"container-sync", "container-sharder"} & made.keys():
            made[name] |= internal
    return made


def _internal(description: Description, node: Node, sections: Mapping[str, dict[str, str]]) -> Sections:
    """What daemons send requests through."""
    servers = {"memcache_servers": ",".join(description.memcached)} if description.memcached else {}
    return {
        "DEFAULT": _where(description, node),
        **sections,
        "pipeline:main": {"pipeline": "catch_errors cache proxy-server"},
        "app:proxy-server": {"use": "egg:swift#proxy", "account_autocreate": "true"},
        "filter:cache": {"use": "egg:swift#memcache", **servers},
        "filter:catch_errors": {"use": "egg:swift#catch_errors"},
    }
