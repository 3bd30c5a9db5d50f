"""What server and writer process say to each other, as bytes: items there, results back, in JSON with the body behind it.

Only what the verbs send has a form; anything else raises Elsewhere, and takes the trip. What never lives here: sockets.
"""

from __future__ import annotations

import json
from typing import Any, NamedTuple

import orjson

from swift.core.object_lock import word_of
from swift.engine.space import Reserve
from swift.obj import errors
from swift.obj.files.batch import SmallWrite
from swift.obj.files.layout import ObjectLocation
from swift.obj.files.plans import CommitPlan, DeletePlan, PostPlan, PutPlan
from swift.obj.store import OpenObject, State, StoreOptions, Write
from swift.obj.verdicts import DeleteCheck, Locking, PostChange, PutCheck


def _dumps(value: Any) -> bytes:
    try:
        return orjson.dumps(value)
    except TypeError:  # text with lone surrogates (names and values that are not UTF-8), which only the slow one has a form for
        return json.dumps(value, separators=(",", ":")).encode()


def _loads(data: bytes) -> Any:
    try:
        return orjson.loads(data)
    except ValueError:
        return json.loads(data)


class Terms(NamedTuple):
    """The first message for a device. `mount_check`: each batch is refused unless something is mounted at `path`."""

    path: str
    mount_check: bool
    options: StoreOptions

    def encode(self) -> bytes:
        """The message."""
        options = self.options
        fields = (
            options.preallocate,
            options.sync_every,
            options.reclaim_age,
            options.commit_window,
            options.metadata_overflow,
        )
        reserve = f"{options.reserve.value:.0f}"
        if options.reserve.percent:
            reserve = f"{options.reserve.value!r}%"
        return _dumps([self.path, self.mount_check, reserve, fields])

    @classmethod
    def decode(cls, message: bytes) -> Terms:
        """From the message."""
        path, mount_check, reserve, fields = _loads(message)
        preallocate, sync_every, reclaim_age, commit_window, metadata_overflow = fields
        options = StoreOptions(
            preallocate,
            Reserve(reserve),
            sync_every,
            reclaim_age,
            commit_window,
            metadata_overflow=metadata_overflow,
        )
        return cls(path, mount_check, options)


# ---------------------------------------------------------------- items


def encode_item(number: int, item: SmallWrite) -> bytes:
    """The message for an item. Raises Elsewhere for one that has no form."""
    where, plan = item.where, item.plan
    place = (
        where.device_path,
        where.policy_index,
        where.partition,
        where.name_hash,
        where.name,
        where.ec,
        where.fragments,
    )
    body = b""
    rest: tuple[Any, ...]
    if isinstance(plan, PutPlan) and isinstance(plan.check, PutCheck):
        condition = plan.check.if_none_match
        tags = None if condition is None else list(condition.tags)
        only = plan.write.fragment
        locking = _locking_form(plan.check.locking, plan.write)
        put_check = (plan.check.timestamp, tags, plan.check.if_current)
        rest = "P", plan.write.now, plan.metadata, put_check, plan.fragment, only, locking
        body = plan.body
    elif isinstance(plan, DeletePlan) and isinstance(plan.check, DeleteCheck):
        check = plan.check
        asked = (check.timestamp, check.if_delete_at, check.unless_large, check.if_current)
        rest = "D", plan.write.now, plan.timestamp, asked, _locking_form(check.locking, plan.write)
    elif isinstance(plan, PostPlan) and isinstance(plan.change, PostChange):
        change = plan.change
        fields = (change.timestamp, change.content_type, change.ctype_timestamp, change.headers)
        rest = "M", plan.write.now, plan.write.open_expired, fields, _locking_form(change.locking, plan.write)
    elif isinstance(plan, CommitPlan):
        rest = "C", 0, plan.timestamp, plan.fragment
    else:
        raise errors.Elsewhere("a plan that has no form")
    return _dumps((number, place, where.etag_validate_pct, rest)) + b"\n" + body


def decode_item(message: bytes) -> tuple[int, SmallWrite]:
    """(its number, the item)."""
    head, _, body = message.partition(b"\n")
    number, place, validate_pct, (kind, now, *rest) = _loads(head)
    device_path, policy_index, partition, name_hash, name, ec, fragments = place
    where = ObjectLocation(device_path, policy_index, partition, name_hash, name, ec, fragments, validate_pct)
    plan: Any
    if kind == "P":
        metadata, (timestamp, tags, if_current), fragment, only, form = rest
        locking, is_exact = _locking(form)
        write = Write(now, fragment=only, is_exact=is_exact)
        put_check = PutCheck(timestamp, _condition(tags), if_current, locking)
        plan = PutPlan(where, metadata, body, put_check, write, fragment)
    elif kind == "D":
        timestamp, (when, if_delete_at, unless_large, if_current), form = rest
        locking, is_exact = _locking(form)
        removal = DeleteCheck(when, if_delete_at, unless_large, if_current, locking)
        plan = DeletePlan(where, timestamp, removal, Write(now, is_exact=is_exact))
    elif kind == "C":
        plan = CommitPlan(*rest)
    else:
        open_expired, fields, form = rest
        locking, is_exact = _locking(form)
        write = Write(now, open_expired=open_expired, is_exact=is_exact)
        when, content_type, ctype_timestamp, headers = fields
        change = PostChange(when, content_type, ctype_timestamp, headers, locking)
        plan = PostPlan(where, change, write)
    return number, SmallWrite(where, plan, len(body))


def _locking_form(locking: Locking, write: Write) -> Any:
    word = None if locking.word is None else locking.word.text()
    return locking.now, word, locking.is_replication, locking.keeps, write.is_exact


def _locking(form: Any) -> tuple[Locking, bool]:
    now, word, is_replication, keeps, is_exact = form
    return Locking(now, word_of(word), is_replication, keeps), is_exact


def _condition(tags: list[Any] | None) -> Any:
    if tags is None:
        return None
    from swift.wire.message import Match  # here: the writer process needs nothing else of that floor

    condition = Match("")
    condition.tags = set(tags)
    return condition


# ---------------------------------------------------------------- results


def encode_result(number: int, item: SmallWrite, value: Any) -> bytes:
    """One result, to be joined by `join_results`."""
    form: Any
    if isinstance(value, Exception):
        form = ["E", *_error_form(value)]
    elif value is None:
        form = ["N", None]
    elif isinstance(value, State):
        form = ["S", _state_form(value)]
    elif isinstance(value[0], State):
        form = ["D", _state_form(value[0]), value[1]]
    else:
        form = ["M", _found_form(value[0]), value[1]]
    return _dumps((number, item.where.notes, form))


def join_results(results: list[bytes]) -> bytes:
    """A message of several."""
    return b"[" + b",".join(results) + b"]"


def decode_results(message: bytes) -> list[tuple[int, list[str] | None, Any]]:
    """(number, notes of the place, value or exception) of each."""
    return [(number, notes, _value(*form)) for number, notes, form in _loads(message)]


def _value(kind: str, first: Any, *rest: Any) -> Any:
    if kind == "E":
        return _error(first, *rest)
    if kind == "N":
        return None
    if kind == "M":
        return _found(first), rest[0]
    state = State()
    found, state.timestamp, state.metadata, state.expired = first
    state.found = _found(found)
    return (state, rest[0]) if kind == "D" else state


def _state_form(state: State) -> tuple[Any, ...]:
    return _found_form(state.found), state.timestamp, state.metadata, state.expired


def _found_form(found: OpenObject | None) -> tuple[Any, ...] | None:
    if found is None:
        return None
    data = None if found.data_metadata is found.metadata else found.data_metadata
    times = (found.timestamp, found.data_timestamp, found.ctype_timestamp, found.durable_timestamp)
    return found.version, found.size, found.metadata, data, found.meta_metadata, times


def _found(form: Any) -> OpenObject | None:
    if form is None:
        return None
    version, size, metadata, data, meta, times = form
    found = OpenObject(-1, version)
    found.size = size
    found.metadata = metadata
    found.data_metadata = metadata if data is None else data
    found.meta_metadata = meta
    found.timestamp, found.data_timestamp, found.ctype_timestamp, found.durable_timestamp = times
    return found


def _error_form(error: Exception) -> tuple[Any, ...]:
    if isinstance(error, OSError):
        return "OSError", (error.errno, str(error)), {}
    name = type(error).__name__
    if getattr(errors, name, None) is type(error):
        return name, error.args, error.__dict__
    return "", (f"{type(error).__name__}: {error}",), {}


def _error(name: str, args: list[Any], state: dict[str, Any]) -> Exception:
    """Made again without a call of its constructor, which may want something else than it keeps."""
    kind: Any = OSError if name == "OSError" else getattr(errors, name) if name else RuntimeError
    error: Exception = kind.__new__(kind, *args)
    error.args = tuple(args)
    error.__dict__.update(state)
    return error
