"""The notification configuration of a bucket: read, checked, compared and shown (spec s3.md 21). Never here: where it is kept."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Any

from swift.core import clock
from swift.s3.errors import S3Error
from swift.s3.notifications.events import WORDS
from swift.s3.notifications.names import target_of
from swift.s3.xml import Node, Text, document, element, many, maybe, node, one, read

MOST_BYTES = 256 * 1024
MOST = 100  # configurations of a bucket
_LONGEST_ID = 255
_LONGEST_VALUE = 1024
# Element of the configuration, and within it that of the target.
KINDS = {
    "TopicConfiguration": "Topic",
    "QueueConfiguration": "Queue",
    "CloudFunctionConfiguration": "CloudFunction",
}
_FILTER = Node(
    {
        "S3Key": maybe(
            Node({"FilterRule": many(Node({"Name": one(Text()), "Value": one(Text())}), 0, 10)}),
        )
    }
)
_SHAPE = Node(
    {
        **{
            kind: many(
                Node(
                    {
                        "Id": maybe(Text()),
                        target: one(Text()),
                        "Event": many(Text(), 1, 100),
                        "Filter": maybe(_FILTER),
                    }
                ),
                0,
                10_000,
            )
            for kind, target in KINDS.items()
        },
        "EventBridgeConfiguration": maybe(Node()),
    }
)


def _wrong(message: str, name: str = "", value: str = "") -> S3Error:
    elements: dict[str, Any] = {"ArgumentName": name, "ArgumentValue": value[:1024]} if name else {}
    return S3Error("InvalidArgument", message, **elements)


def parse(data: bytes, targets: Collection[str]) -> dict[str, Any]:
    """A document as it is kept: keys as in the XML, without what is empty. `targets`: names of those there are. Raises S3Error."""
    found = read(data, "NotificationConfiguration", _SHAPE)
    if "EventBridgeConfiguration" in found:
        raise S3Error("NotImplemented", "Delivery to EventBridge is not supported.")
    if sum(len(found[kind]) for kind in KINDS) > MOST:
        raise _wrong(f"The number of notification configurations exceeds the limit of {MOST}.")
    kept = {
        kind: [_checked(item, KINDS[kind], targets) for item in found[kind]] for kind in KINDS if found[kind]
    }
    items = [item for kind in kept for item in kept[kind]]
    if len({item["Id"] for item in items}) < len(items):
        raise _wrong("Same ID used for multiple configurations. IDs must be unique")
    _check_overlaps(items)
    return kept


def _checked(item: dict[str, Any], target: str, targets: Collection[str]) -> dict[str, Any]:
    arn = item[target]
    if target_of(arn) not in targets:
        raise _wrong("Unable to validate the following destination configurations", target, arn)
    for word in item["Event"]:
        if word not in WORDS:
            raise _wrong("The event is not supported for notifications", "Event", word)
    made = {
        "Id": item.get("Id") or str(clock.uuid4()),
        target: arn,
        "Event": list(dict.fromkeys(item["Event"])),
    }
    if len(made["Id"]) > _LONGEST_ID:
        raise _wrong(f"ID length should not exceed allowed limit of {_LONGEST_ID}")
    rules = (item.get("Filter") or {}).get("S3Key", {}).get("FilterRule", [])
    names = []
    for rule in rules:
        name = rule["Name"].lower()
        if name not in ("prefix", "suffix"):
            raise _wrong("filter rule name must be either prefix or suffix", "FilterRule.Name", rule["Name"])
        if name in names:
            raise _wrong(f"Cannot specify more than one {name} rule in a filter.")
        if len(rule["Value"].encode("utf-8", "surrogatepass")) > _LONGEST_VALUE:
            raise _wrong(
                f"Size of filter rule value cannot exceed {_LONGEST_VALUE} bytes in UTF-8 representation"
            )
        names.append(name)
    if rules:
        made["Filter"] = {"S3Key": {"FilterRule": [dict(rule) for rule in rules]}}
    return made


def filter_of(item: dict[str, Any]) -> tuple[str, str]:
    """(prefix, suffix) of a configuration that is kept; "" for none."""
    rules = (item.get("Filter") or {}).get("S3Key", {}).get("FilterRule", [])
    found = {rule["Name"].lower(): rule["Value"] for rule in rules}
    return found.get("prefix", ""), found.get("suffix", "")


def events_of(item: dict[str, Any]) -> frozenset[str]:
    """The names of the events that a configuration is about; words of a newer version mean nothing."""
    return frozenset().union(*(WORDS.get(word, frozenset()) for word in item["Event"]))


def _check_overlaps(items: list[dict[str, Any]]) -> None:
    """AWS refuses two configurations that one event of one key could mean."""
    seen: list[tuple[str, str, frozenset[str]]] = []
    for item in items:
        (prefix, suffix), events = filter_of(item), events_of(item)
        for other_prefix, other_suffix, other_events in seen:
            if (
                events & other_events
                and (prefix.startswith(other_prefix) or other_prefix.startswith(prefix))
                and (suffix.endswith(other_suffix) or other_suffix.endswith(suffix))
            ):
                raise _wrong(
                    "Configurations overlap. Configurations on the same bucket cannot share a common event type."
                )
        seen.append((prefix, suffix, events))


def configurations(kept: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """(name of the target, configuration) of a document that is kept."""
    for kind, target in KINDS.items():
        for item in kept.get(kind, ()):
            yield target_of(item[target]), item


def shown(kept: dict[str, Any] | None) -> bytes:
    """The document as clients see it."""
    inner = [
        _shown(kind, target, item) for kind, target in KINDS.items() for item in (kept or {}).get(kind, ())
    ]
    return document("NotificationConfiguration", *inner)


def _shown(kind: str, target: str, item: dict[str, Any]) -> str:
    parts = [element("Id", item["Id"]), element(target, item[target])]
    parts += [element("Event", word) for word in item["Event"]]
    if item.get("Filter"):
        rules = item["Filter"]["S3Key"]["FilterRule"]
        parts.append(
            node(
                "Filter",
                node(
                    "S3Key",
                    *(
                        node("FilterRule", element("Name", rule["Name"]), element("Value", rule["Value"]))
                        for rule in rules
                    ),
                ),
            )
        )
    return node(kind, *parts)
