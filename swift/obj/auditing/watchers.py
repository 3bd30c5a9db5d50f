"""Audit watchers: plugins that are shown each healthy object that the auditor comes across (object-disk 20.4, operations 18).

Finding, making and calling them is here. Whatever a watcher raises concerns nobody but itself, except for `QuarantineRequest`.
"""

from __future__ import annotations

import importlib.metadata
import sys
import types
from collections.abc import Mapping
from typing import Any

from swift.core.concurrency import Semaphore
from swift.core.errors import ConfigError

GROUP = "swift.object_audit_watcher"
OWN = "swift"
# what plugins that were written for the reference import it from
_REFERENCE_MODULE = "swift.common.exceptions"


class QuarantineRequest(Exception):
    """Raised by a watcher's `see_object`: the object is to be quarantined."""


class Watchers:
    """The watchers of one process. `configurations`: {as the option names it: its options}. Raises ConfigError for unknown ones."""

    def __init__(self, configurations: Mapping[str, Mapping[str, Any]], logger: Any) -> None:
        self.logger = logger
        self._found = [(name, _find(name), dict(conf)) for name, conf in configurations.items()]

    def begin(self, audit_type: str) -> Watching:
        """New ones for a pass."""
        made = []
        for name, factory, conf in self._found:
            logger = _PrefixedLogger(self.logger, f"[audit-watcher {name}] ")
            try:
                made.append((factory(conf, logger), logger))
            except Exception:
                logger.exception("Error intializing watcher")
        return Watching(made, audit_type)


class Watching:
    """The watchers of one pass. One that fails at its start is asked no more."""

    def __init__(self, watchers: list[tuple[Any, Any]], audit_type: str) -> None:
        self._watchers = watchers
        self._one_at_a_time = Semaphore(1)  # they need not expect to be called while they wait for something
        self._keep_those_that("starting", "start", audit_type=audit_type)

    def __bool__(self) -> bool:
        return bool(self._watchers)

    def see_object(self, metadata: dict[str, str], path: str) -> bool:
        """True if one of them wants it to be quarantined."""
        wanted = False
        with self._one_at_a_time:
            for watcher, logger in self._watchers:
                try:
                    watcher.see_object(object_metadata=metadata, data_file_path=path)
                except QuarantineRequest:
                    logger.warning("Asked for %s to be quarantined", path)
                    wanted = True
                except Exception:
                    logger.exception("Error in see_object(meta=%r, data=%r)", metadata, path)
        return wanted

    def end(self) -> None:
        """The pass is over."""
        self._keep_those_that("ending", "end")

    def _keep_those_that(self, doing: str, method: str, **arguments: Any) -> None:
        kept = []
        for watcher, logger in self._watchers:
            try:
                getattr(watcher, method)(**arguments)
                kept.append((watcher, logger))
            except Exception:
                logger.exception("Error %s watcher", doing)
        self._watchers = kept


class _PrefixedLogger:
    """A logger whose lines begin with the name of a watcher."""

    def __init__(self, logger: Any, prefix: str) -> None:
        self._logger = logger
        self._prefix = prefix.replace("%", "%%")

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._logger, name)
        if name not in ("debug", "info", "notice", "warning", "warn", "error", "exception", "critical"):
            return method

        def log(text: object, *args: Any, **keywords: Any) -> None:
            method(self._prefix + str(text), *args, **keywords)

        return log


def _find(name: str) -> Any:
    """The class that `package#entry` names; a word without # is one of our own."""
    package, separator, entry = name.removeprefix("egg:").partition("#")
    if not separator:
        package, entry = OWN, package
    for point in importlib.metadata.entry_points(group=GROUP, name=entry):
        if point.dist is not None and point.dist.name.lower().replace("_", "-") == package.lower().replace(
            "_", "-"
        ):
            _offer_reference_names()
            try:
                return point.load()
            except Exception as err:
                raise ConfigError(f"The audit watcher {name} can't be loaded: {err}") from None
    raise ConfigError(f"There is no audit watcher {name} ({GROUP})")


def _offer_reference_names() -> None:
    """Plugins import `QuarantineRequest` where the reference has it."""
    if _REFERENCE_MODULE in sys.modules:
        return
    module = types.ModuleType(_REFERENCE_MODULE, "The one name that audit watchers import from there.")
    module.QuarantineRequest = QuarantineRequest  # type: ignore[attr-defined]
    package = sys.modules.setdefault("swift.common", types.ModuleType("swift.common"))
    package.exceptions = module  # type: ignore[attr-defined]
    sys.modules[_REFERENCE_MODULE] = module
