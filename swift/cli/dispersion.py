"""What swift-dispersion-populate and swift-dispersion-report share: configuration, names, the account, progress (operations 13).

The names are a contract: a report must find what any other version has populated.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping
from optparse import OptionParser, Values
from typing import Any
from urllib.parse import unquote, urlparse

from swift.core import clock, swift_dir
from swift.core.config import non_negative_int, positive_float, positive_int, read_ini, truthy
from swift.core.errors import ConfigError, SwiftError
from swift.core.policy import StoragePolicy, policies
from swift.ring.errors import RingError
from swift.ring.lookup import Ring
from swift.survey.figures import span

DEFAULT_CONF = "/etc/swift/dispersion.conf"
TELL_EACH = 5.0  # seconds
PREFIX = "dispersion_"


class Stop(SwiftError):
    """The command ends; the text says why."""


def status_of(work: Callable[[], None]) -> int:
    """Do a command's work; the exit status. Whatever ends it is told in one line."""
    try:
        work()
    except Stop as error:
        print(error, file=sys.stderr)
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
    except Exception as error:
        print(f"Gave up: {str(error) or type(error).__name__}", file=sys.stderr)
    else:
        return 0
    return 1


class Settings:
    """The section [dispersion]. `conf_path`, `options`: of the command line. Raises Stop."""

    def __init__(self, conf_path: str, options: Values) -> None:
        conf = _section(conf_path)
        try:
            self.auth_url = conf["auth_url"]
            self.user = conf["auth_user"]
            self.key = conf["auth_key"]
            self.auth_version = conf.get("auth_version", "1.0")
            self.retries = non_negative_int(conf.get("retries", 5))
            self.concurrency = positive_int(conf.get("concurrency", 25))
            self.coverage = positive_float(conf.get("dispersion_coverage", 1.0))
        except KeyError as error:
            raise Stop(f"{conf_path}: [dispersion] needs {error.args[0]}") from None
        except ValueError as error:
            raise Stop(f"{conf_path}: {error}") from None
        self.os_options = {
            "project_name": conf.get("project_name"),
            "project_domain_name": conf.get("project_domain_name"),
            "user_domain_name": conf.get("user_domain_name"),
            "endpoint_type": conf.get("endpoint_type", "publicURL"),
            "region_name": conf.get("region_name"),
        }
        self.insecure = options.insecure or truthy(conf.get("keystone_api_insecure", "no"))
        self.container_populate = truthy(conf.get("container_populate", "yes"))
        self.object_populate = truthy(conf.get("object_populate", "yes"))
        self.container_report = truthy(conf.get("container_report", "yes"))
        self.object_report = truthy(conf.get("object_report", "yes"))
        self.dump_json = truthy(conf.get("dump_json", "no"))
        self.partitions = truthy(conf.get("partitions", "no"))
        try:
            self.swift_dir = swift_dir.use(conf.get("swift_dir") or None)
        except (ConfigError, ValueError) as error:
            raise Stop(str(error)) from None
        self.policy = _policy(options.policy_name)

    def ring(self, name: str) -> Ring:
        """Raises Stop."""
        try:
            return Ring(self.swift_dir, name)
        except (OSError, RingError) as error:
            raise Stop(f"The ring {name} in {self.swift_dir} can't be opened: {error}") from None

    def account(self) -> Account:
        """Authenticate. Raises Stop."""
        from swiftclient.client import get_auth
        from swiftclient.exceptions import ClientException

        wanted = {name: value for name, value in self.os_options.items() if value}
        try:
            url, token = get_auth(
                self.auth_url,
                self.user,
                self.key,
                auth_version=self.auth_version,
                os_options=wanted,
                insecure=self.insecure,
            )
        except (ClientException, OSError) as error:
            raise Stop(f"Authentication at {self.auth_url} failed: {error}") from None
        return Account(url, token, self)


class Account:
    """The account that the probes lie in. `retries`: how often requests had to be made again. Methods raise ClientException, OSError."""

    def __init__(self, url: str, token: str, settings: Settings) -> None:
        self.url = url
        self.name = unquote(urlparse(url).path.rstrip("/").rpartition("/")[2])
        self.retries = 0
        self._token = token
        self._settings = settings
        self._idle: list[Any] = []

    def call(self, method: str, *args: Any, **kwargs: Any) -> Any:
        """A method of a swiftclient Connection, over one that nobody else uses meanwhile."""
        from swiftclient.client import Connection

        settings = self._settings
        connection = (
            self._idle.pop()
            if self._idle
            else Connection(
                preauthurl=self.url,
                preauthtoken=self._token,
                retries=settings.retries,
                insecure=settings.insecure,
            )
        )
        try:
            return getattr(connection, method)(*args, **kwargs)
        finally:
            self.retries += max(connection.attempts - 1, 0)
            self._idle.append(connection)


def _section(path: str) -> Mapping[str, str]:
    try:
        found = read_ini(path)
    except (ConfigError, OSError, ValueError):
        raise Stop(f"Unable to read config file: {path}") from None
    if "dispersion" not in found:
        raise Stop(f"Unable to read config file: {path}")
    return found["dispersion"]


def _policy(name: str | None) -> StoragePolicy:
    if name is None:
        return policies().default
    policy = policies().get_by_name(name)
    if policy is None:
        raise Stop(f"Unable to find policy: {name}")
    return policy


def container_name(policy: StoragePolicy, number: int) -> str:
    """Of a probe of container partitions."""
    return f"{PREFIX}{policy.idx}_{number}"


def object_container(policy: StoragePolicy) -> str:
    """In which the probes of object partitions are."""
    return f"{PREFIX}objects_{policy.idx}"


def common_parser(prog: str, text: str) -> OptionParser:
    """With the options of both commands."""
    parser = OptionParser(
        usage=f"%prog [options] [CONF]\n\n{text}\n\nCONF: {DEFAULT_CONF} if not named.", prog=prog
    )
    parser.add_option(
        "--insecure", action="store_true", default=False, help="don't check the certificate of the endpoint"
    )
    parser.add_option(
        "--container-only", action="store_true", default=False, help="only partitions of containers"
    )
    parser.add_option("--object-only", action="store_true", default=False, help="only partitions of objects")
    parser.add_option("-P", "--policy-name", help="the storage policy (the default one)")
    return parser


def conf_path(words: list[str], parser: OptionParser) -> str:
    """The one argument that there may be."""
    if len(words) > 1:
        parser.error("only one configuration file")
    return words[0] if words else DEFAULT_CONF


_DONE = {"Creating": "Created", "Querying": "Queried"}


class Progress:
    """The line that says how far the work is. `verb`: Creating or Querying; `unit`: containers or objects; `quiet`: says nothing."""

    def __init__(self, verb: str, unit: str, total: int, quiet: bool = False) -> None:
        self._verb = verb
        self._unit = unit
        self._total = total
        self._quiet = quiet
        self._began = clock.time()
        self._next = self._began + TELL_EACH
        self.done = 0

    def step(self, retries: int) -> None:
        """One more is done."""
        self.done += 1
        now = clock.time()
        if self._quiet or now < self._next:
            return
        self._next = now + TELL_EACH
        left = (now - self._began) / self.done * max(self._total - self.done, 0)
        self._tell(
            f"{self._verb} {self._unit}: {self.done} of {self._total}, {span(left)} left, {retries} retries"
        )

    def end(self, retries: int) -> None:
        """All are done."""
        if not self._quiet:
            verb = _DONE[self._verb]
            time = span(clock.time() - self._began)
            self._tell(f"{verb} {self.done} {self._unit} for dispersion reporting, {time}, {retries} retries")
            print(flush=True)

    @staticmethod
    def _tell(text: str) -> None:
        sys.stdout.write(f"\r\x1b[K{text}")
        sys.stdout.flush()


def numbers(start: int) -> Iterator[int]:
    """Of probes, without end."""
    while True:
        yield start
        start += 1
