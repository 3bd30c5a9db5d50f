"""The users that the configuration names, and the groups each of them is in.

Never here: tokens and requests. All names are native text.
"""

import base64
import binascii
import hmac
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from urllib.parse import quote, unquote

ADMIN_GROUP = ".admin"


@dataclass(frozen=True, slots=True)
class User:
    account: str
    name: str
    key: str
    groups: tuple[str, ...]
    storage_url: str

    @property
    def id(self) -> str:
        return f"{self.account}:{self.name}"

    @property
    def account_id(self) -> str:
        """The storage account of the user: the last part of the storage URL."""
        return unquote(self.storage_url.rsplit("/", 1)[-1])

    def has_key(self, key: str) -> bool:
        """Compares in a time that tells nothing about the key."""
        return hmac.compare_digest(
            self.key.encode("utf-8", "surrogateescape"), key.encode("utf-8", "surrogateescape")
        )

    def owned_accounts(self, reseller_prefixes: Iterable[str]) -> list[str]:
        """The storage accounts that the user owns: none unless an admin, else the account under each prefix, and its own."""
        if ADMIN_GROUP not in self.groups:
            return []
        return list(
            dict.fromkeys([*(f"{prefix}{self.account}" for prefix in reseller_prefixes), self.account_id])
        )

    def group_list(self, reseller_prefixes: Iterable[str]) -> list[str]:
        """All groups of the user: the account, the user, those of the configuration, and the storage accounts that it owns."""
        groups = [self.account, self.id, *(group for group in self.groups if group != ADMIN_GROUP)]
        owned = self.owned_accounts(prefix for prefix in reseller_prefixes if prefix)
        return groups + owned


NOBODY = User("", "", "", (), "")


def parse_users(conf: Mapping[str, str], reseller_prefix: str) -> dict[str, User]:
    """``account:user`` → User of all ``user_…`` and ``user64_…`` options. Raises ValueError that names the option."""
    users = {}
    for option, value in conf.items():
        if option.startswith("user_"):
            words = option.split("_")[1:]
        elif option.startswith("user64_"):
            words = [_decode_base64(option, word) for word in option.split("_")[1:]]
        else:
            continue
        if len(words) != 2 or not all(words):
            raise ValueError(
                f"{option}: an account and a user name, separated by one '_', are needed (user64_ takes any names)"
            )
        if ":" in words[0] or any("," in word for word in words):
            # Users are told apart as account:user, and lists of groups have commas between them.
            raise ValueError(f"{option}: no ':' in an account's name, no ',' in any")
        user = _parse_user(option, words[0], words[1], value, reseller_prefix)
        users[user.id] = user
    return users


def _parse_user(option: str, account: str, name: str, value: str, reseller_prefix: str) -> User:
    values = value.split()
    if not values:
        raise ValueError(f"{option} has no key set")
    key, *groups = values
    if groups and ("://" in groups[-1] or "$HOST" in groups[-1]):
        url = groups.pop().rstrip("/")
    else:
        url = f"$HOST/v1/{reseller_prefix}{quote(account)}"
    user = User(account, name, key, tuple(groups), url)
    if any("," in group for group in (*groups, user.account_id)):
        raise ValueError(
            f"{user.id}: no ',' in a group or the storage account, groups are separated by blanks"
        )
    return user


def _decode_base64(option: str, word: str) -> str:
    try:
        return base64.b64decode(word + "=" * (-len(word) % 4), validate=True).decode("utf-8")
    except (binascii.Error, UnicodeDecodeError):
        raise ValueError(f"{option}: {word!r} is not base64 of UTF-8 text") from None
