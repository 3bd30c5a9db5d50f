"""Applications from ini files: PasteDeploy's rules, relaxed interpolation, directories, and the proxy's pipeline fix-ups.

A pipeline's elements come from entry points, so this module imports none of them by name. The daemons' rules for the
same files, opposite in what wins, are in `swift.core.config`.

Spec: operations.md 1.3 B, 1.4; proxy-and-backend 23.
"""

from __future__ import annotations

import configparser
import os
import re
from collections.abc import Mapping
from typing import Any, NamedTuple

from paste.deploy import loadwsgi

from swift.core.config import RelaxedInterpolation, fill_parser, one_line, without_values
from swift.core.errors import ConfigError
from swift.run import pipeline_order

# Options whose values are nobody's to read in a log.
_SECRET = re.compile("secret|password|key|^user(64)?_")


class ConfigText(str):
    """The text of a configuration, where a path is expected."""


class HiddenOption(NamedTuple):
    """An option that has no effect because [DEFAULT] has the same name."""

    section: str
    option: str
    value: str

    def __str__(self) -> str:
        if _SECRET.search(self.option):
            return f'{self.option} in [{self.section}] is hidden by [DEFAULT]; write "set {self.option} = …" there'
        return (
            f"{self.option} = {self.value} in [{self.section}] is hidden by [DEFAULT]; "
            f'write "set {self.option} = {self.value}" there'
        )


class _Loader(loadwsgi.ConfigLoader):
    """PasteDeploy's loader over a file, a directory of `*.conf` or a ConfigText."""

    hidden: list[HiddenOption]
    shown: str

    def __init__(self, source: str) -> None:
        self.hidden = []
        if isinstance(source, ConfigText):
            self.filename = self.shown = "string"
            defaults = {"here": "/", "__file__": "string"}
        else:
            self.filename = self.shown = source = source.strip()
            path = os.path.abspath(source)
            defaults = {"here": path if os.path.isdir(path) else os.path.dirname(path), "__file__": path}
        parser = loadwsgi.NicerConfigParser(
            self.filename,
            defaults=defaults,
            interpolation=RelaxedInterpolation(),
            strict=False,
            inline_comment_prefixes=None,
        )
        parser.optionxform = str
        self.parser = parser
        if isinstance(source, ConfigText):
            parser.read_string(str(source))
        else:
            fill_parser(parser, source)

    def get_context(self, object_type: Any, name: str | None = None, global_conf: Any = None) -> Any:
        if self.absolute_name(name):
            try:
                return super().get_context(object_type, name, global_conf)
            except (LookupError, ImportError) as err:
                raise ConfigError(f"{name} is not available ({one_line(err)})") from err
        section = self.find_config_section(object_type, name=name)
        self._note_hidden(section)
        try:
            context = super().get_context(object_type, name, global_conf)
        except ConfigError as err:
            text = str(err)
            raise ConfigError(text if text.startswith("[") else f"[{section}]: {text}") from err.__cause__
        context.local_conf["__name__"] = context.name = name or "main"
        return context

    def _note_hidden(self, section: str) -> None:
        defaults = self.parser._defaults
        for option, value in self.parser._sections[section].items():
            if option in defaults and defaults[option] != value:
                entry = HiddenOption(section, option, value)
                if entry not in self.hidden:
                    self.hidden.append(entry)


def _open(source: str) -> _Loader:
    try:
        return _Loader(source)
    except configparser.Error as err:
        raise ConfigError(f"Unable to read config from {source[:200]} ({without_values(err)})") from None


def _context(loader: _Loader, name: str | None, global_conf: Mapping[str, str] | None) -> Any:
    try:
        loader.update_defaults(global_conf or {}, overwrite=False)
        return loader.get_context(loadwsgi.APP, name, dict(global_conf or {}))
    except IndexError:  # PasteDeploy takes the last of no names
        raise ConfigError(f"Error trying to load config from {loader.shown}: the pipeline is empty") from None
    except (LookupError, ImportError, configparser.Error, OSError, ConfigError) as err:
        if isinstance(err, configparser.Error):
            raise ConfigError(
                f"Error trying to load config from {loader.shown}: {without_values(err)}"
            ) from None
        text = one_line(err.args[0] if isinstance(err, LookupError) and err.args else err)
        raise ConfigError(f"Error trying to load config from {loader.shown}: {text}") from err


def app_conf(source: str, section: str, global_conf: Mapping[str, str] | None = None) -> dict[str, str]:
    """The options that `[app:<section>]` evaluates to: what a server takes its own settings from. Raises ConfigError."""
    return dict(_context(_open(source), section, global_conf).config())


def load_app(
    source: str,
    name: str | None = None,
    global_conf: Mapping[str, str] | None = None,
    allow_modify_pipeline: bool = True,
    logger: Any = None,
) -> Any:
    """The WSGI application of a config file, directory or ConfigText.

    `name`: of the section, `main` by default. `global_conf` beats the file's [DEFAULT]. With `allow_modify_pipeline` a
    proxy's missing required filters are inserted. Every element gets `_pipeline` (outermost first),
    `_pipeline_final_app`, `_pipeline_request_logging_app` and `_pipeline_names` (of entry points). Raises ConfigError, and whatever a factory raises.
    """
    loader = _open(source)
    context = _context(loader, name, global_conf)
    if context.object_type is not loadwsgi.PIPELINE:
        app = context.create()
        _mark_elements([app], app)
    else:
        if allow_modify_pipeline and context.app_context.entry_point_name == "proxy":
            _insert_required(context, logger)
            _check_order(loader, context, logger)
        app = _build(context)
    if logger is not None:
        for entry in loader.hidden:
            logger.warning("%s: %s", loader.shown, entry)
    return app


def evaluated_sections(source: str) -> dict[str, dict[str, str]]:
    """What the main pipeline, its filters and its app are configured with, in their order, by section name.

    The pipeline itself is shown by entry point names. Raises ConfigError.
    """
    context = _context(_open(source), None, None)
    if context.object_type is not loadwsgi.PIPELINE:
        return {f"application:{context.name}": _options(context)}
    shown = {"pipeline:main": {**_options(context), "pipeline": " ".join(_entry_names(context))}}
    for part in context.filter_contexts:
        shown[f"filter:{part.name}"] = _options(part)
    shown[f"application:{context.app_context.name}"] = _options(context.app_context)
    return shown


def _options(context: Any) -> dict[str, str]:
    options = {**context.global_conf, "__name__": context.name}
    options.update(context.local_conf)
    return options


def _entry_names(context: Any) -> list[str]:
    return [part.entry_point_name or part.name for part in (*context.filter_contexts, context.app_context)]


def hidden_options(source: str) -> list[HiddenOption]:
    """The options of the main pipeline's sections that [DEFAULT] hides. Raises ConfigError."""
    loader = _open(source)
    _context(loader, None, None)
    return loader.hidden


def pipeline_names(source: str, global_conf: Mapping[str, str] | None = None) -> list[str]:
    """The entry point names (section names where there is none) of the main pipeline as written. Raises ConfigError."""
    context = _context(_open(source), None, global_conf)
    if context.object_type is not loadwsgi.PIPELINE:
        return [context.entry_point_name or context.name]
    return _entry_names(context)


def _insert_required(context: Any, logger: Any) -> None:
    contexts = context.filter_contexts
    changed = False
    for name, predecessors in reversed(pipeline_order.REQUIRED_FILTERS):
        present = [part.entry_point_name for part in contexts]
        if name in present:
            continue
        at = pipeline_order.place_of(name, predecessors, present)
        try:
            added = loadwsgi.loadcontext(
                loadwsgi.FILTER, f"egg:swift#{name}", global_conf=context.global_conf
            )
        except (LookupError, ImportError):
            continue  # not there yet; requests for what it does are refused by name
        added.name = name
        contexts.insert(at, added)
        changed = True
        if logger is not None:
            logger.info("Adding required filter %s to pipeline at position %d", name, at)
    if logger is not None:
        shown = " ".join(part.name for part in (*contexts, context.app_context))
        if changed:
            logger.info('Pipeline was modified. New pipeline is "%s".', shown)
        else:
            logger.debug('Pipeline is "%s"', shown)


def _check_order(loader: _Loader, context: Any, logger: Any) -> None:
    refused, warned = pipeline_order.check(_entry_names(context)[:-1])
    if refused:
        raise ConfigError(
            f"Error trying to load config from {loader.shown}: the pipeline: {'; '.join(refused)}"
        )
    if logger is not None:
        for text in warned:
            logger.warning("%s: the pipeline: %s", loader.shown, text)


def _build(context: Any) -> Any:
    final_app = context.app_context.create()
    filters = [part.create() for part in context.filter_contexts]
    app = final_app
    elements = [final_app]
    for make in reversed(filters):
        app = make(app)
        elements.insert(0, app)
    logging_contexts = [p for p in context.filter_contexts if p.entry_point_name == "proxy_logging"]
    request_logging_app = logging_contexts[-1].create()(final_app) if logging_contexts else final_app
    _mark_elements(elements, request_logging_app, frozenset(_entry_names(context)))
    return app


def _mark_elements(
    elements: list[Any], request_logging_app: Any, names: frozenset[str] = frozenset()
) -> None:
    marked = list(elements)
    if request_logging_app not in marked:
        marked.append(request_logging_app)
    for element in marked:
        try:
            element._pipeline = elements
            element._pipeline_names = names
            element._pipeline_final_app = elements[-1]
            element._pipeline_request_logging_app = request_logging_app
        except AttributeError:  # an element with slots goes without
            pass
