"""Configuration files: the three parsers that read them, and the rules for single values.

`swift_conf`/`read_ini` is the stock INI parser (swift.conf, memcache.conf ...), `read_conf` the daemons' parser. The
paste rules (pipelines) are in `swift.run.pipeline`. What the options mean is said where they are used.

Spec: operations.md section 1.
"""

from __future__ import annotations

import configparser
import os
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from swift.core.errors import ConfigError
from swift.core.outside_values import OutsideValueError, filled_in

DEFAULT_SWIFT_DIR = "/etc/swift"
MAX_CONF_BYTES = 16 * 1024 * 1024

TRUE_VALUES = frozenset(("true", "1", "yes", "on", "t", "y"))


# -- values


def truthy(value: Any) -> bool:
    """True for True and for the words that mean it, in any case; False for everything else. Never an error."""
    return value is True or (isinstance(value, str) and value.lower() in TRUE_VALUES)


def auto_int(value: Any, default: int) -> int:
    """`auto` or None mean `default`. Raises ValueError."""
    if value is None or (isinstance(value, str) and value.lower() == "auto"):
        return default
    try:
        return int(value)
    except (TypeError, ValueError):
        raise ValueError(f'Config option must be an integer or the string "auto", not "{value}".') from None


def positive_int(value: Any) -> int:
    """An int of at least 1. Raises ValueError."""
    try:
        number = int(value)
        if number >= 1:
            return number
    except (TypeError, ValueError):
        pass
    raise ValueError(f'Config option must be an positive int number, not "{value}".')


def positive_float(value: Any) -> float:
    """A float above 0. Raises ValueError."""
    try:
        number = float(value)
        if number > 0:
            return number
    except (TypeError, ValueError):
        pass
    raise ValueError(f'Config option must be a positive float number, not "{value}".')


def non_negative_int(value: Any) -> int:
    """An int of at least 0. Raises ValueError."""
    try:
        number = int(value)
        if number >= 0:
            return number
    except (TypeError, ValueError):
        pass
    raise ValueError(f'Value must be a non-negative integer, not "{value}".')


def non_negative_float(value: Any) -> float:
    """A float of at least 0. Raises ValueError."""
    try:
        number = float(value)
        if number >= 0:
            return number
    except (TypeError, ValueError):
        pass
    raise ValueError(f'Value must be a non-negative float number, not "{value}".')


def bounded_float(value: Any, minimum: float | None = None, maximum: float | None = None) -> float:
    """A float within inclusive bounds. Raises ValueError."""
    try:
        number = float(value)
        if (minimum is None or number >= minimum) and (maximum is None or number <= maximum):
            return number
    except (TypeError, ValueError):
        pass
    text = "Config option must be a number"
    if minimum is not None:
        text += f", greater than {minimum}"
    if maximum is not None:
        text += f", less than {maximum}"
    raise ValueError(f'{text}, not "{value}".')


def percent(value: Any) -> float:
    """A number of percent as a fraction: `50` → 0.5. Raises ValueError."""
    try:
        return bounded_float(value, 0, 100) / 100.0
    except ValueError as err:
        raise ValueError(f"{err}: {value}") from None


def csv_list(value: str | Iterable[str] | None) -> list[str]:
    """The comma-separated words, stripped, without empty ones."""
    if isinstance(value, str):
        value = value.split(",")
    return [word.strip() for word in value or () if word.strip()]


def request_node_count(value: Any) -> Callable[[int], int]:
    """`N` or `N * replicas` as a function of the replica count. Raises ValueError."""
    words = str(value).lower().split()
    if len(words) == 1 and words[0].isdigit():
        count = int(words[0])
        return lambda replicas: count
    if len(words) == 3 and words[1:] == ["*", "replicas"] and words[0].isdigit():
        factor = int(words[0])
        return lambda replicas: factor * replicas
    raise ValueError(f"Invalid request_node_count value: {''.join(words)!r}")


def fallocate_reserve(value: Any) -> tuple[float, bool]:
    """Free space to keep: (number, whether it is percent of the device, else bytes). Raises ValueError."""
    text = str(value).strip()
    try:
        if text.endswith("%"):
            return float(text[:-1]), True
        return int(text), False
    except ValueError:
        raise ValueError(f"Error: {value} is an invalid value for fallocate_reserve.") from None


_REGION_ZONE = re.compile(r"r(\d+)(?:z(\d+))?$")


def read_affinity(value: str) -> Callable[[Mapping[str, Any]], int]:
    """Sort key of devices for `r1=100, r2z1=200`: lower comes first, unnamed places last. Raises ValueError."""
    entries: list[tuple[int, int, int | None]] = []
    for word in csv_list(value):
        place, sep, priority = word.partition("=")
        match = _REGION_ZONE.match(place.strip())
        if not match or not sep or not priority.strip().isdigit():
            raise ValueError(f"Invalid affinity value: {value!r}")
        entries.append((int(priority), int(match[1]), None if match[2] is None else int(match[2])))
    entries.sort(key=lambda entry: entry[0])

    def key(device: Mapping[str, Any]) -> int:
        for priority, region, zone in entries:
            if device["region"] == region and (zone is None or device["zone"] == zone):
                return priority
        return 2**32

    return key


def write_affinity(value: str) -> Callable[[Mapping[str, Any]], bool] | None:
    """Predicate of local devices for `r1, r2z1`; None for a blank value. Raises ValueError."""
    words = csv_list(value)
    if not words:
        return None
    places: list[tuple[int, int | None]] = []
    for word in words:
        match = _REGION_ZONE.match(word)
        if not match:
            raise ValueError(f"Invalid write-affinity value: {value!r}")
        places.append((int(match[1]), None if match[2] is None else int(match[2])))

    def is_local(device: Mapping[str, Any]) -> bool:
        return any(
            device["region"] == region and (zone is None or device["zone"] == zone) for region, zone in places
        )

    return is_local


def multi_key_options(conf: Mapping[str, str], prefix: str) -> list[tuple[str, str | None, str]]:
    """Sorted (option, id, value) of `<prefix>` (id None) and `<prefix>_<id>`. Raises ValueError."""
    found: list[tuple[str, str | None, str]] = []
    for option, value in conf.items():
        if option == prefix:
            found.append((option, None, value))
        elif option.startswith(prefix + "_"):
            key_id = option[len(prefix) + 1 :]
            if not key_id:
                raise ValueError(f"Malformed multi-key option name {option}")
            found.append((option, key_id, value))
    return sorted(found, key=lambda entry: entry[0])


def reseller_options(
    conf: Mapping[str, str], defaults: Mapping[str, Any]
) -> tuple[list[str], dict[str, dict[str, Any]]]:
    """(reseller prefixes, {prefix: options}).

    Prefixes end in `_` except the empty one. `defaults` names the options and their defaults; an option whose
    default is a list is lower-cased and split on commas. `<PREFIX>option` overrides `option`; for the empty prefix it is
    spelled `''option`.
    """
    prefixes: list[str] = []
    for word in conf.get("reseller_prefix", "AUTH").split(","):
        prefix = word.strip()
        if prefix == "''":
            prefix = ""
        elif prefix and not prefix.endswith("_"):
            prefix += "_"
        if prefix not in prefixes:
            prefixes.append(prefix)
    if not prefixes:
        prefixes.append("")

    def shaped(name: str, value: Any) -> Any:
        return [word.lower() for word in csv_list(value)] if isinstance(defaults[name], list) else value

    options: dict[str, dict[str, Any]] = {}
    for prefix in prefixes:
        chosen = dict(defaults)
        for name in defaults:
            for option in (name, f"{prefix or chr(39) * 2}{name}"):
                if option in conf:
                    chosen[name] = shaped(name, conf[option])
        options[prefix] = chosen
    return prefixes, options


# -- files


class RelaxedInterpolation(configparser.BasicInterpolation):
    """`%(name)s` as usual, but a value without `%(` is taken as it stands, so that `1%` needs no doubling."""

    def before_get(self, parser, section, option, value, defaults):  # type: ignore[no-untyped-def]
        value, is_all = filled_in(section, option, value, True)
        if is_all or "%(" not in value:
            return value
        return super().before_get(parser, section, option, value, defaults)

    def before_set(self, parser, section, option, value):  # type: ignore[no-untyped-def]
        return value


class StrictInterpolation(configparser.BasicInterpolation):
    """`%(name)s` as usual, and what stands outside, in the encoding of the file."""

    def __init__(self, encoding: str) -> None:
        super().__init__()
        self._encoding = encoding

    def before_get(self, parser, section, option, value, defaults):  # type: ignore[no-untyped-def]
        value, is_all = filled_in(section, option, value, False, self._encoding)
        return value if is_all else super().before_get(parser, section, option, value, defaults)

    def before_set(self, parser, section, option, value):  # type: ignore[no-untyped-def]
        return value


def conf_files(path: str) -> list[str]:
    """The files behind a config path: itself, or the `*.conf` of a directory in sorted order. Raises ConfigError."""
    if not os.path.isdir(path):
        return [path]
    names = sorted(n for n in os.listdir(path) if n.endswith(".conf") and not n.startswith("."))
    if not names:
        raise ConfigError(f"Unable to read config from {path}")
    return [os.path.join(path, name) for name in names]


def fill_parser(parser: configparser.RawConfigParser, path: str, encoding: str = "utf-8") -> None:
    """Reads a config file or directory into `parser`, later files overriding earlier ones. Raises ConfigError."""
    for name in conf_files(path):
        try:
            with open(name, encoding=encoding, errors="surrogateescape") as file:
                text = file.read(MAX_CONF_BYTES)
        except OSError as err:
            raise ConfigError(f"Unable to read config from {path} ({err.strerror})") from None
        try:
            parser.read_string(text, source=name)
        except configparser.Error as err:
            raise ConfigError(f"Unable to read config from {path} ({without_values(err)})") from None


def without_values(err: configparser.Error) -> str:
    """What is wrong with a configuration, on one line, and nothing of what stands there: it may be a password or a key."""
    if isinstance(err, configparser.MissingSectionHeaderError):
        return f"{err.source}, line {err.lineno}: before the first [section]"
    if isinstance(err, configparser.ParsingError):
        lines = ", ".join(str(number) for number, _ in err.errors[:10])
        return f"{err.source}, line {lines}: neither an option nor a [section]"
    if isinstance(err, configparser.InterpolationError):
        what = "refers to too much"
        if isinstance(err, OutsideValueError):
            what = err.why
        elif isinstance(err, configparser.InterpolationMissingOptionError):
            what = f"refers to {err.reference}, which there is not"
        elif isinstance(err, configparser.InterpolationSyntaxError):
            what = "has a '%' that must be followed by '%' or '('"
        return f"the value of {err.option} in [{err.section}] {what}"
    return one_line(err)


def one_line(err: object) -> str:
    """An error's text on one line."""
    return " ".join(str(err).split())


def _case_sensitive_parser() -> configparser.ConfigParser:
    # comments begin a line only, and an option repeated in one file is not an error: the last one counts
    parser = configparser.ConfigParser(
        interpolation=RelaxedInterpolation(),
        strict=False,
        comment_prefixes=("#", ";"),
        inline_comment_prefixes=None,
    )
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    return parser


def _section_items(parser: configparser.ConfigParser, section: str, path: str) -> dict[str, str]:
    try:
        return dict(parser.items(section))
    except configparser.Error as err:
        raise ConfigError(f"Unable to read config from {path} ({without_values(err)})") from None


def read_conf(path: str, section: str, log_name: str | None = None) -> dict[str, str]:
    """The options of one section as daemons see them: DEFAULT overlaid by the section.

    `path`: a file or a directory of `*.conf`. Adds `log_name` (given, else the section's name) and `__file__`.
    Raises ConfigError with the line to print.
    """
    parser = _case_sensitive_parser()
    fill_parser(parser, path)
    if not parser.has_section(section):
        raise ConfigError(f"Unable to find {section} config section in {path}")
    conf = _section_items(parser, section, path)
    conf.setdefault("log_name", log_name or section)
    conf["__file__"] = path
    return conf


def read_conf_sections(path: str) -> dict[str, dict[str, str]]:
    """All sections as `read_conf` sees them (without the added keys). Raises ConfigError."""
    parser = _case_sensitive_parser()
    fill_parser(parser, path)
    return {section: _section_items(parser, section, path) for section in parser.sections()}


def prefixed_sections(path: str, prefix: str) -> dict[str, dict[str, str]]:
    """The sections whose name starts with `prefix`, keyed by the stripped rest of the name. Raises ConfigError."""
    return {
        name[len(prefix) :].strip(): options
        for name, options in read_conf_sections(path).items()
        if name.startswith(prefix)
    }


def read_ini(path: str, encoding: str = "utf-8", missing_ok: bool = False) -> dict[str, dict[str, str]]:
    """All sections of a stock INI file: lower-case option names, strict `%` interpolation. Raises ConfigError."""
    if missing_ok and not os.path.exists(path):
        return {}
    parser = configparser.ConfigParser(interpolation=StrictInterpolation(encoding), strict=False)
    fill_parser(parser, path, encoding)
    return {section: _section_items(parser, section, path) for section in parser.sections()}


def swift_conf(swift_dir: str = DEFAULT_SWIFT_DIR) -> dict[str, dict[str, str]]:
    """All sections of `<swift_dir>/swift.conf`, read as latin-1; {} if there is no such file. Raises ConfigError."""
    return read_ini(os.path.join(swift_dir, "swift.conf"), "latin-1", missing_ok=True)
