"""Tokens of OpenID Connect (AssumeRoleWithWebIdentity): are they a trusted provider's, and which user here do their claims stand for?

The file of the option `web_identity_providers` names providers, their keys and whom they vouch for. PyJWT checks signatures, times, issuer and
audience; what it is let check is decided here: only algorithms with public keys, only keys of the provider's own set that are for that algorithm, no
key or address that a token brings along. Never here: requests, sessions, and whether the user is there.
"""

from __future__ import annotations

import importlib
import json
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from swift.core.errors import ConfigError
from swift.s3.policy.patterns import Glob, plain_glob
from swift.s3.sts.key_sets import ALGORITHMS, LEAST_RSA_BITS, KeySet, NoKey, key_set
from swift.telemetry.log import get_logger

LONGEST = 20_000  # characters of a token
_LEEWAY = 60  # seconds that a provider's clock may differ
_MOST_BYTES = 1024 * 1024
_MOST_PROVIDERS = 100
_MOST_RULES = 10_000
_USUAL = ("RS256", "ES256")
_FORM = re.compile(r"[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+")
_USER = re.compile(r"[^\s:]+:\S+")
_KNOWN = frozenset(("issuer", "audience", "jwks", "ca_file", "algorithms", "users"))


class BadIdentity(Exception):
    """A token that counts for nothing."""


class Expired(BadIdentity):
    """A token that counts no more."""


class Nobody(Exception):
    """A right token of somebody who is no user here."""


class Verified(NamedTuple):
    """`user`: `account:name`, for whom the token counts; `provider`: by its name in the file; all else as the token says it."""

    user: str
    provider: str
    issuer: str
    subject: str
    audience: str


class Rule(NamedTuple):
    """Who a user is. `claims`: by name, what they must match."""

    user: str
    claims: Mapping[str, Glob]

    def fits(self, found: Mapping[str, Any]) -> bool:
        return all(
            any(pattern.matches(text) for text in _texts(found.get(name)))
            for name, pattern in self.claims.items()
        )


class Provider(NamedTuple):
    name: str
    issuer: str
    audience: Sequence[str]
    algorithms: Sequence[str]
    keys: KeySet
    rules: Sequence[Rule]


class WebIdentities:
    """All providers that are trusted. `jwt`: the library."""

    def __init__(self, providers: Sequence[Provider], jwt: Any) -> None:
        self._by_issuer = {provider.issuer: provider for provider in providers}
        self._users = {provider.name: {rule.user for rule in provider.rules} for provider in providers}
        self._jwt = jwt

    def vouches(self, provider: str, user: str) -> bool:
        """Returns True if a provider's tokens may still stand for a user."""
        return user in self._users.get(provider, ())

    def verified(self, token: str) -> Verified:
        """Whom a token stands for. Raises BadIdentity, Expired, Nobody, Away."""
        provider, algorithm, kid = self._announced(token)
        jwt = self._jwt
        try:
            key = self._key(provider, kid, algorithm)
            found = jwt.decode(
                token,
                key,
                algorithms=[algorithm],
                audience=list(provider.audience),
                issuer=provider.issuer,
                leeway=_LEEWAY,
                options={"require": ["exp", "iss", "aud", "sub"]},
            )
        except jwt.ExpiredSignatureError:
            raise Expired("it has expired") from None
        except NoKey as error:
            raise BadIdentity(str(error)) from None
        except (jwt.PyJWTError, ArithmeticError, ValueError, TypeError, RecursionError) as error:
            raise BadIdentity(_said(error)) from None
        audience = next((one for one in _texts(found["aud"]) if one in provider.audience), "")
        for rule in provider.rules:
            if rule.fits(found):
                return Verified(rule.user, provider.name, provider.issuer, str(found["sub"]), audience)
        raise Nobody(str(found["sub"]))

    def _announced(self, token: str) -> tuple[Provider, str, str | None]:
        """(provider, algorithm, key id) that a token tells of, without any proof. Raises BadIdentity."""
        jwt = self._jwt
        if len(token) > LONGEST or not _FORM.fullmatch(token):
            raise BadIdentity("it is no token of OpenID Connect")
        try:
            header = jwt.get_unverified_header(token)
            said = jwt.decode(token, options={"verify_signature": False})
        except (jwt.PyJWTError, ArithmeticError, ValueError, TypeError, RecursionError) as error:
            raise BadIdentity(_said(error)) from None
        issuer, algorithm, kid = said.get("iss"), header.get("alg"), header.get("kid")
        provider = self._by_issuer.get(issuer) if isinstance(issuer, str) else None
        if provider is None:
            raise BadIdentity("its issuer is not trusted")
        if algorithm not in provider.algorithms:
            raise BadIdentity("it is signed in a way that is not taken")
        if "crit" in header or not (kid is None or isinstance(kid, str)):
            raise BadIdentity("its header is not understood")
        return provider, algorithm, kid

    def _key(self, provider: Provider, kid: str | None, algorithm: str) -> Any:
        """Raises Away, NoKey, and what the library raises."""
        jwk = provider.keys.jwk(kid, algorithm)
        key = self._jwt.PyJWK({name: value for name, value in jwk.items() if name != "d"}, algorithm).key
        if jwk["kty"] == "RSA" and key.key_size < LEAST_RSA_BITS:
            raise NoKey("the key of its provider is too short")
        return key


def _said(error: BaseException) -> str:
    return str(error)[:200] or type(error).__name__


def _texts(value: Any) -> list[str]:
    """The values of a claim, of which any counts."""
    values = value if isinstance(value, list) else [value]
    return [
        one if isinstance(one, str) else json.dumps(one)
        for one in values
        if isinstance(one, (str, bool, int, float))
    ]


# -- the file -------------------------------------------------------------------------------------------------------------


def load(path: str) -> WebIdentities | None:
    """What a file says, read at the start; None without one. Raises ConfigError."""
    if not path:
        return None
    try:
        jwt = importlib.import_module("jwt")
    except ImportError:
        raise ConfigError("web_identity_providers needs PyJWT: pip install 'swift[web-identity]'") from None
    logger = get_logger({}, "proxy-server", log_route="s3-web-identity")
    try:
        with open(path, "rb") as file:
            data = file.read(_MOST_BYTES + 1)
        if len(data) > _MOST_BYTES:
            raise ValueError("it is too long")
        return WebIdentities(providers_of(json.loads(data), logger.error), jwt)
    except (OSError, ValueError, RecursionError) as error:
        raise ConfigError(f"web_identity_providers: {path}: {error}") from None


def providers_of(found: Any, told: Callable[..., None]) -> list[Provider]:
    """Raises ValueError, OSError."""
    if not isinstance(found, dict) or not 0 < len(found) <= _MOST_PROVIDERS:
        raise ValueError("there must be an object with a provider by each name")
    made = [_provider(name, item, told) for name, item in found.items()]
    if len({provider.issuer for provider in made}) != len(made):
        raise ValueError("two providers have the same issuer")
    return made


def _provider(name: str, item: Any, told: Callable[..., None]) -> Provider:
    if not isinstance(item, dict):
        raise ValueError(f"{name}: is no object")
    unknown = sorted(item.keys() - _KNOWN)
    if unknown:
        raise ValueError(f"{name}: nothing is called {unknown[0]}")
    issuer, jwks, ca_file = item.get("issuer"), item.get("jwks"), item.get("ca_file")
    if not isinstance(issuer, str) or not issuer:
        raise ValueError(f"{name}: issuer is missing")
    if not isinstance(jwks, str) or not isinstance(ca_file, (str, type(None))):
        raise ValueError(f"{name}: jwks must be an https address or the path of a file")
    audience = _names(f"{name}: audience", item.get("audience"))
    algorithms = _names(f"{name}: algorithms", item.get("algorithms", list(_USUAL)))
    wrong = [one for one in algorithms if one not in ALGORITHMS]
    if wrong:
        raise ValueError(f"{name}: algorithms: {wrong[0]} is none of {', '.join(ALGORITHMS)}")
    users = item.get("users")
    if not isinstance(users, list) or not 0 < len(users) <= _MOST_RULES:
        raise ValueError(f"{name}: users must be a list of who its tokens may stand for")
    rules = [_rule(f"{name}: users", one) for one in users]
    return Provider(name, issuer, audience, algorithms, key_set(jwks, ca_file, told), rules)


def _names(what: str, value: Any) -> list[str]:
    values = [value] if isinstance(value, str) else value
    if not isinstance(values, list) or not values or not all(isinstance(one, str) and one for one in values):
        raise ValueError(f"{what} must be a name or a list of names")
    return values


def _rule(what: str, item: Any) -> Rule:
    user, claims = (item.get("user"), item.get("claims")) if isinstance(item, dict) else (None, None)
    if not isinstance(user, str) or not _USER.fullmatch(user) or item.keys() - {"user", "claims"}:
        raise ValueError(f"{what}: each needs a user, account:name, and claims")
    # One without claims would be anybody whom the provider knows.
    if not isinstance(claims, dict) or not claims:
        raise ValueError(f"{what}: {user} needs claims, the values that they must have by their names")
    made = {}
    for name, value in claims.items():
        if not isinstance(value, str) or not value:
            raise ValueError(
                f"{what}: {user}: the claim {name} must be a text, in which * is anything and ? a character"
            )
        made[name] = plain_glob(value)
    return Rule(user, made)
