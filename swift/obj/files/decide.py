"""Which files of a hash directory count, and which are garbage (object-disk 3).

A pure function of the names. Removing what is obsolete is in `cleanup`; reading what was chosen is in `reader`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from swift.obj.files.layout import FileName, parse_name


class Decision:
    """The outcome. Lists hold each file at most once.

    `data`, `meta`, `ctype`, `ts`: the chosen files or None. `obsolete`: to be removed now. `possible_reclaim`: to be
    removed when old enough. `unexpected`: names that don't parse, left alone. EC: `frag_sets` maps each recorded
    timestamp, newest first, to its fragments by ascending index; `durable_set` is the timestamp of the durable one.
    """

    __slots__ = (
        "data",
        "meta",
        "ctype",
        "ts",
        "obsolete",
        "possible_reclaim",
        "unexpected",
        "frag_sets",
        "durable_set",
    )

    def __init__(self) -> None:
        self.data: FileName | None = None
        self.meta: FileName | None = None
        self.ctype: FileName | None = None
        self.ts: FileName | None = None
        self.obsolete: list[FileName] = []
        self.possible_reclaim: list[FileName] = []
        self.unexpected: list[str] = []
        self.frag_sets: dict[str, list[FileName]] = {}
        self.durable_set: str | None = None


Groups = dict[str, list[FileName]]


def _time(file: FileName) -> str:
    return file.timestamp


def decide(
    names: Iterable[str],
    ec: bool = False,
    fragments: int | None = None,
    frag_index: int | None = None,
    frag_prefs: Sequence[dict[str, Any]] | None = None,
) -> Decision:
    """Apply the rules to the names of one hash directory, in any order.

    `ec`, `fragments`: see `layout.parse_name`. `frag_index`: take this fragment or none. `frag_prefs`: a list of
    {timestamp, exclude: [indexes]} in order of preference, by which a fragment that isn't durable may be taken.
    """
    decision = Decision()
    groups: Groups = {}
    for name in sorted(set(names), reverse=True):
        try:
            file = parse_name(name, ec, fragments)
        except ValueError:
            decision.unexpected.append(name)
        else:
            groups.setdefault(file.extension, []).append(file)
    for group in groups.values():
        if len(group) > 1:
            group.sort(key=_time, reverse=True)

    if ".ts" in groups:
        _apply_tombstone(groups, decision)
    if len(groups.get(".meta", ())) > 1:
        groups[".meta"] = _current_metas(groups[".meta"], decision)
    if ec:
        _choose_fragment(groups, decision, frag_index, frag_prefs)
    else:
        _choose_data(groups, decision)

    if decision.data is not None:
        metas = groups.get(".meta")
        if metas:
            decision.meta = metas[0]
            ctype_time = metas[-1].ctype_timestamp
            if ctype_time is not None and ctype_time > decision.data.timestamp:
                decision.ctype = metas[-1]
    elif groups.get(".ts"):
        decision.ts = groups[".ts"][0]
    return decision


def current_time(names: Iterable[str], ec: bool = False, fragments: int | None = None) -> str:
    """When what counts among the names was written or deleted, '' if there is nothing. EC: what is not known durable does not count."""
    decision = decide(names, ec, fragments)
    if decision.ts is not None:
        return decision.ts.timestamp
    if ec:
        return decision.durable_set or ""
    return decision.data.timestamp if decision.data is not None else ""


def _drop_through(groups: Groups, decision: Decision, extensions: Iterable[str], time: str) -> None:
    """Files of `extensions` with a timestamp up to and including `time` are obsolete."""
    for extension in extensions:
        group = groups[extension]
        kept = [file for file in group if file.timestamp > time]
        if len(kept) != len(group):
            decision.obsolete.extend(group[len(kept) :])
            groups[extension] = kept


def _apply_tombstone(groups: Groups, decision: Decision) -> None:
    tombstones = groups[".ts"]
    _drop_through(groups, decision, [e for e in groups if e != ".ts"], tombstones[0].timestamp)
    decision.obsolete.extend(tombstones[1:])
    groups[".ts"] = tombstones[:1]


def _current_metas(metas: list[FileName], decision: Decision) -> list[FileName]:
    newest, *rest = metas
    by_ctype = max(rest, key=lambda file: file.ctype_timestamp or "")
    if (by_ctype.ctype_timestamp or "") > (newest.ctype_timestamp or ""):
        kept = [by_ctype] if by_ctype.timestamp == newest.timestamp else [newest, by_ctype]
    else:
        kept = [newest]
    decision.obsolete.extend(file for file in metas if file not in kept)
    return kept


def _choose_data(groups: Groups, decision: Decision) -> None:
    datas = groups.get(".data")
    if not datas:
        decision.possible_reclaim.extend(groups.get(".meta", ()))
        return
    decision.data = datas[0]
    decision.obsolete.extend(datas[1:])
    if len(groups) > 1:
        _drop_through(groups, decision, [e for e in groups if e != ".data"], datas[0].timestamp)


# ---------------------------------------------------------------- erasure coding


def _record_frag_sets(groups: Groups, decision: Decision) -> str | None:
    """Fill `frag_sets` and `durable_set`; returns the newest time known durable, with or without fragments."""
    legacy = groups.get(".durable")
    marker = legacy[0].timestamp if legacy else None
    by_time: dict[str, list[FileName]] = {}
    for file in groups.get(".data", ()):
        by_time.setdefault(file.timestamp, []).append(file)
    for time, frag_set in by_time.items():
        durable = {file.fragment for file in frag_set if file.durable}
        if len(durable) < len(frag_set):
            # What was sent a second time, and whose sender died before its commit: the first one is durable.
            twins = [file for file in frag_set if not file.durable and file.fragment in durable]
            decision.obsolete.extend(twins)
            frag_set = [file for file in frag_set if file not in twins]
        frag_set.sort(key=lambda file: (file.fragment or 0, file.name))
        if any(file.durable for file in frag_set) and (marker is None or marker < time):
            marker = time
        if marker == time:
            decision.frag_sets[time] = [file._replace(durable=True) for file in frag_set]
            decision.durable_set = time
            break
        decision.frag_sets[time] = frag_set
    return marker


def _preferred_set(
    decision: Decision, frag_index: int | None, frag_prefs: Sequence[dict[str, Any]]
) -> tuple[str | None, int | None]:
    candidates = dict(decision.frag_sets)
    for preference in frag_prefs:
        time = preference["timestamp"]
        if time not in candidates:
            continue
        indexes = [f.fragment for f in candidates[time] if f.fragment not in preference["exclude"]]
        if indexes:
            return time, max(i for i in indexes if i is not None)
        del candidates[time]
    return next(iter(candidates), None), frag_index


def _choose_fragment(
    groups: Groups,
    decision: Decision,
    frag_index: int | None,
    frag_prefs: Sequence[dict[str, Any]] | None,
) -> None:
    marker = _record_frag_sets(groups, decision)
    chosen_time = decision.durable_set
    if frag_prefs is not None:
        chosen_time, frag_index = _preferred_set(decision, frag_index, frag_prefs)
    if chosen_time is not None:
        chosen_set = decision.frag_sets[chosen_time]
        if frag_index is None:
            decision.data = chosen_set[-1]
        else:
            decision.data = next((f for f in chosen_set if f.fragment == frag_index), None)

    metas = groups.get(".meta", [])
    if decision.data is not None and chosen_time != decision.durable_set:
        # hidden from this reader, but no garbage: the older ones still belong to the durable fragments
        groups[".meta"] = [f for f in metas if f.timestamp > decision.data.timestamp]
    if marker is not None:
        for extension, group in groups.items():
            kept = [file for file in group if file.timestamp >= marker]
            decision.obsolete.extend(group[len(kept) :])
            groups[extension] = kept
    if decision.durable_set is None:
        decision.obsolete.extend(groups.pop(".durable", ()))
        decision.possible_reclaim.extend(groups.get(".meta", ()))
    for time, frag_set in decision.frag_sets.items():
        if time not in (decision.durable_set, chosen_time):
            decision.possible_reclaim.extend(frag_set)
