"""Who asks, as policies and ACLs name users (spec s3.md 13.3). Never here: how it was found out."""

from __future__ import annotations

from typing import Any, NamedTuple

from swift.s3.options import Options


class Identity(NamedTuple):
    """`user_id`: as in ACLs, None for who did not sign; `account`: the caller's own storage account, "" for nobody's; `account_id`: that
    without its reseller prefix; `also`: how ACLs of the own account may have it, too; `names`: what the user's ARN may end with; `session`: of temporary credentials, None for all others:
    anything with `policy` (the text of a policy, or None) and `name`."""

    user_id: str | None = None
    account: str = ""
    account_id: str = ""
    names: tuple[str, ...] = ()
    session: Any = None
    also: str | None = None

    @property
    def is_anonymous(self) -> bool:
        return self.user_id is None

    @property
    def arn(self) -> str:
        """The user's own ARN, "" for who did not sign."""
        return f"arn:aws:iam::{self.account_id}:user/{self.names[0]}" if self.names else ""

    @property
    def arns(self) -> tuple[str, ...]:
        """All that the user goes by."""
        accounts = dict.fromkeys((self.account_id, self.account))
        return tuple(f"arn:aws:iam::{account}:user/{name}" for account in accounts for name in self.names)


NOBODY = Identity()


def account_id_of(account: str, options: Options) -> str:
    """A storage account without its reseller prefix."""
    for prefix in sorted(options.reseller_prefixes, key=len, reverse=True):
        if prefix and account.startswith(prefix) and len(account) > len(prefix):
            return account[len(prefix) :]
    return account


def account_named(name: str, options: Options) -> str:
    """The storage account that somebody means by a name: that of the account itself, or without its reseller prefix."""
    prefixes = options.reseller_prefixes
    if any(prefix and name.startswith(prefix) and len(name) > len(prefix) for prefix in prefixes):
        return name
    return f"{prefixes[0]}{name}" if prefixes else name


def identity_of(
    user_id: str | None,
    account: str,
    user_keystone_id: str,
    project: str,
    also: str,
    options: Options,
    session: Any,
) -> Identity:
    """`account`: the storage account that the auth filter found for the access key; `user_keystone_id`, `project`: ids, "" where there are
    none: an access key may name another project's account than the user's own; `also`: `project:user` by names, "" where those could be
    somebody else's in that project."""
    account_id = account_id_of(account, options)
    if project and account_id != project:
        account, account_id = account_named(project, options), project
    name = (also or user_id or "").partition(":")[2] or (user_id or "")
    names = (name, user_keystone_id) if user_keystone_id and user_keystone_id != name else (name,)
    return Identity(user_id, account, account_id, names, session, also if also != user_id and also else None)
