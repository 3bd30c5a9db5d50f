"""Who may do what (spec s3.md 8.2, 13.7).

`decide` is asked once between finding an operation and carrying it out, `require` for whatever else a request touches. A policy's denial wins
over all; what a policy allows is `granted`, by its name; of all else native rights decide in each native request (`s3_acl` off), or S3's own
ACLs do here (on), and then native requests are authorized already. The ACL of an object that is read comes with the answer that holds the
object (`check_object`). Never here: what an ACL or a policy looks like.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from swift.core.constraints import limits
from swift.s3 import bucket_rules
from swift.s3.acl import forms
from swift.s3.acl.forms import Acl
from swift.s3.bucket_rules import Rules
from swift.s3.errors import S3Error
from swift.s3.identity import Identity
from swift.s3.policy import actions, document
from swift.s3.policy.context import Values
from swift.s3.policy.evaluate import Verdict, verdict
from swift.s3.request import S3Request
from swift.wire.message import environ_key, str_to_wsgi
from swift.wire.subanswer import Subanswer
from swift.wire.subrequest import make_environ

OBJECT_ACL = "x-object-sysmeta-s3api-acl"
_OLD_OBJECT_ACL = "x-object-sysmeta-swift3-acl"
# Their handlers ask about the object whose answer they hand on.
_ASK_THEMSELVES = ("GetObject", "HeadObject")
_TELL_OF_OBJECT = (304, 412, 416)
# No policy keeps an account's owners from changing it.
_OF_POLICIES = ("GetBucketPolicy", "PutBucketPolicy", "DeleteBucketPolicy")


_ACL_HEADERS = [(environ_key(name), name) for name in forms.HEADERS]


class _Operation(Protocol):
    @property
    def name(self) -> str: ...
    @property
    def method(self) -> str: ...
    @property
    def level(self) -> str: ...
    @property
    def action(self) -> str: ...
    @property
    def permission(self) -> str: ...
    @property
    def checks_object(self) -> bool: ...


def decide(request: S3Request, operation: _Operation) -> None:
    """Raises S3Error if who asks may not have an operation carried out."""
    if request.bucket is None or operation.name == "CreateBucket":
        _decide_on_account(request, operation)
        return
    if request.credential is None and request.account is None:
        raise S3Error("AccessDenied", reason="no_account")
    if request.options.s3_acl:
        request.authenticate()
    info = request.likely_info()
    if info["status"] >= 500:
        raise S3Error("ServiceUnavailable", reason="bucket_unknown")  # nor is what restricts it
    if request.session is None and not bucket_rules.has_rules(info):
        if request.options.s3_acl:
            _decide_by_acls(request, operation, bucket_rules.NONE)
        return
    who, account = request.likely()
    rules = bucket_rules.of_bucket(request, info, request.bucket, account)
    if operation.name in _OF_POLICIES and request.session is None and request.owns_account():
        request.is_decided = request.options.s3_acl
        return
    found = Verdict.NOTHING
    if operation.name != "DeleteObjects":  # it asks for each of its keys
        found = _of_all(request, who, account, rules, actions.of(operation, request))
    if found is Verdict.ALLOWED and not request.options.s3_acl and request.seems_owner():
        request.assume(who)  # the native request is let anyway, and looks at the signature
        return
    if found is Verdict.ALLOWED:
        request.authenticate()
        assert request.bucket is not None
        request.granted.add(account, request.bucket, request.key, operation.name == "DeleteBucket")
        return
    if request.options.s3_acl:
        _decide_by_acls(request, operation, rules)
    elif bucket_rules.IGNORE_ACLS in rules.blocks:
        request.authenticate()
        request.ignores_public_acls = True
    else:
        request.assume(who)


def _decide_on_account(request: S3Request, operation: _Operation) -> None:
    """What is about no bucket that is there. Raises S3Error."""
    if request.credential is None:
        raise S3Error("AccessDenied", reason="not_signed")
    if request.session is not None:
        bucket = f"arn:aws:s3:::{request.bucket or '*'}"
        who, account = request.identity, request.account or ""
        _check_session(request, who, account, operation.action, bucket, request.bucket or "", None, None)
    if not request.options.s3_acl:
        return
    request.authenticate()
    # Making a bucket is a right of the account's, which the auth filter knows of; so are the buckets of an account that the access key only
    # names, which is not the caller's.
    request.is_decided = operation.name == "ListBuckets" and request.is_at_home


def require(
    request: S3Request,
    action: str,
    bucket: str,
    key: str | None = None,
    *,
    version_id: str | None = None,
    permission: str = "",
    account: str | None = None,
) -> None:
    """The decision about a second thing that a request touches: a copy's source, each key of DeleteObjects, a lock that is bypassed.

    `action`: as policies call it, of an object that has a version's id without `Version` in it; `permission`: what an ACL must grant
    for it where S3's own count: of the bucket for "WRITE" and "OWNER"; an object's "READ" is asked by `check_object` with the answer that
    holds it. "OWNER" is for what native requests say nothing of: only the account's owner may it then, unless a policy says otherwise.
    `account`: the bucket's, if it is another one than that of the request. Raises S3Error.
    """
    who = request.identity
    of = account or request.account or ""
    info = request.container_info(bucket, account)
    if info["status"] >= 500:
        raise S3Error("ServiceUnavailable", reason="bucket_unknown")
    found = Verdict.NOTHING
    rules = bucket_rules.NONE
    if request.session is not None or bucket_rules.has_rules(info):
        rules = bucket_rules.of_bucket(request, info, bucket, of)
        asked = actions.versioned(action, version_id)
        found = _said(request, who, of, rules, asked, bucket, key, version_id)
    if found is Verdict.ALLOWED:
        request.granted.add(of, bucket, key)
        return
    if request.options.s3_acl:
        if permission in ("WRITE", "OWNER"):
            _check_bucket(request, permission, bucket, rules, account)
        if account is not None or not request.is_decided:
            request.granted.add(of, bucket, key, is_checked=False)
        return
    if bucket_rules.IGNORE_ACLS in rules.blocks:
        request.ignores_public_acls = True
    if permission == "OWNER" and not request.owns_account(account):
        raise S3Error("AccessDenied", reason="not_the_owner")


def _of_all(request: S3Request, who: Identity, account: str, rules: Rules, names: tuple[str, ...]) -> Verdict:
    """What policies say of the request's own bucket or object: all must be allowed. Raises S3Error for a denial."""
    assert request.bucket is not None
    found = Verdict.ALLOWED
    for name in names:
        said = _said(request, who, account, rules, name, request.bucket, request.key, request.version_id)
        if said is not Verdict.ALLOWED:
            found = Verdict.NOTHING
    return found


def _said(
    request: S3Request,
    who: Identity,
    account: str,
    rules: Rules,
    action: str,
    bucket: str,
    key: str | None,
    version_id: str | None,
) -> Verdict:
    """What policies say of one action. Raises S3Error for a denial, once the signature has been looked at."""
    if key is not None and len(key) > limits().max_object_name_length:
        raise S3Error("KeyTooLongError")  # nothing is called so, and patterns take their time
    resource = f"arn:aws:s3:::{bucket}" if key is None else f"arn:aws:s3:::{bucket}/{key}"
    if request.session is not None:
        _check_session(request, who, account, action, resource, bucket, key, version_id)
    if rules.policy is None:
        return Verdict.NOTHING
    values = Values(request, who, account, action, bucket, key, version_id)
    found = verdict(rules.policy, who, action, resource, values)
    if found is Verdict.DENIED:
        raise _denied(request)
    if bucket_rules.RESTRICT in rules.blocks and who.account != account and rules.is_policy_public:
        raise _denied(request)
    return found


def _denied(request: S3Request) -> S3Error:
    request.authenticate()  # who signs with a wrong key is told of that
    return S3Error("AccessDenied", reason="policy")


def _check_session(
    request: S3Request,
    who: Identity,
    account: str,
    action: str,
    resource: str,
    bucket: str,
    key: str | None,
    version_id: str | None,
) -> None:
    """Raises S3Error for what the policy of temporary credentials does not allow."""
    text = getattr(request.session, "policy", None)
    if text is None:
        return
    try:
        policy = document.parse(text, True)
    except S3Error:
        raise S3Error("AccessDenied", reason="unreadable_policy") from None
    values = Values(request, who, account, action, bucket, key, version_id)
    if verdict(policy, who, action, resource, values) is not Verdict.ALLOWED:
        raise _denied(request)


# -- S3's own ACLs --------------------------------------------------------------------------------------------------------


def _decide_by_acls(request: S3Request, operation: _Operation, rules: Rules) -> None:
    """Raises S3Error."""
    permission, reads = operation.permission, operation.method in ("GET", "HEAD")
    if operation.name == "DeleteObjects" and rules is not bucket_rules.NONE:
        return  # it asks for each of its keys
    if operation.level == "object" and (operation.checks_object or not permission):
        request.is_decided = True
        if operation.name not in _ASK_THEMSELVES:
            _look_at_object(request, permission or ("READ" if reads else "OWNER"))
        return
    if permission or not reads:
        # What changes something and says nothing of who may is for the owner alone.
        _check_bucket(request, permission or "OWNER", None, rules)
    request.is_decided = True


def _lets(request: S3Request, acl: Acl | None, permission: str, rules: Rules, account: str | None) -> bool:
    """Returns True if an ACL lets who asks, where a bucket has such rules."""
    if rules.ownership == bucket_rules.ENFORCED:
        return _is_bucket_owner(request, account)
    if acl is None:
        return False
    if bucket_rules.IGNORE_ACLS in rules.blocks:
        acl = acl.without_public()
    also = _also(request, account)
    return acl.lets(request.user_id, permission, request.options.allow_no_owner, also)


def _also(request: S3Request, account: str | None = None) -> str | None:
    """How ACLs of a bucket in this account may call who asks, beside the id that is used everywhere."""
    who = request.identity
    return who.also if who.account == (account or request.account) else None


def _is_bucket_owner(request: S3Request, account: str | None, bucket: str | None = None) -> bool:
    who = request.identity
    acl = acl_of_bucket(request, bucket, account)
    if acl is not None and acl.owner is not None:
        return not who.is_anonymous and acl.owner in (who.user_id, _also(request, account))
    return not who.is_anonymous and who.account == (account or request.account)


def _check_bucket(
    request: S3Request,
    permission: str,
    bucket: str | None = None,
    rules: Rules | None = None,
    account: str | None = None,
) -> None:
    info = request.container_info(bucket, account)
    if rules is None:
        rules = bucket_rules.of_bucket(request, info, bucket or request.bucket, account or request.account)
    acl = acl_of_bucket(request, bucket, account)
    status = info["status"]
    if 200 <= status < 300 and _lets(request, acl, permission, rules, account):
        return
    if status == 404:
        raise S3Error("NoSuchBucket", BucketName=bucket or request.bucket)
    if not 200 <= status < 300:
        raise S3Error("ServiceUnavailable")
    raise S3Error("AccessDenied", reason="acl")


def is_owner(request: S3Request, acl: Acl) -> bool:
    """Returns True if an ACL of a bucket of the request's account has who asks for its owner."""
    return acl.owner is not None and acl.owner in (request.user_id, _also(request))


def acl_of_bucket(request: S3Request, bucket: str | None = None, account: str | None = None) -> Acl | None:
    """The ACL of a bucket as far as its container's info tells; None if it lets nobody (there is no bucket, or what is stored is no ACL)."""
    info = request.container_info(bucket, account)
    if not 200 <= info["status"] < 300:
        return None
    sysmeta = info.get("sysmeta") or {}
    return forms.of_stored(sysmeta.get("s3api-acl") or sysmeta.get("swift3-acl"))


def acl_of_object(answer: Subanswer) -> Acl | None:
    """The ACL in a native answer that tells of an object; None if what is stored is no ACL."""
    return forms.of_stored(answer.get(OBJECT_ACL) or answer.get(_OLD_OBJECT_ACL))


def _look_at_object(request: S3Request, permission: str) -> None:
    assert request.bucket is not None and request.key is not None
    query = {} if request.version_id is None else {"version-id": request.version_id}
    answer = request.ask("HEAD", request.bucket, request.key, query, {"HTTP_X_NEWEST": "true"})
    answer.close()
    check_object(request, answer, request.bucket, request.key, query, permission)
    if not answer.is_success and answer.status not in (400, 404):
        # What is not known lets nobody: the handler's own look may be luckier.
        raise request.error_of(answer, request.bucket, request.key)


def check_object(
    request: S3Request,
    answer: Subanswer,
    bucket: str,
    key: str,
    query: Mapping[str, str] | None = None,
    permission: str = "READ",
    account: str | None = None,
) -> None:
    """Raises S3Error, and closes the answer, if who asks may not be told what a native GET or HEAD of an object answers.

    An answer of conditions and ranges tells of an object without its ACL, which is asked for then; who may not list a bucket is not
    told that a key is absent either.
    """
    if not request.options.s3_acl and not request.granted:
        return
    is_granted = request.granted.has(account or request.account or "", bucket, key)
    if not is_granted and not request.options.s3_acl:
        return
    status = answer.status
    try:
        if status == 404:
            _check_may_list(request, bucket, account, is_granted)
        elif is_granted:
            return
        elif 200 <= status < 300:
            info = request.container_info(bucket, account)
            rules = bucket_rules.of_bucket(request, info, bucket, account or request.account)
            if not _lets(request, acl_of_object(answer), permission, rules, account):
                raise S3Error("AccessDenied", reason="acl")
        elif status in _TELL_OF_OBJECT:
            named = {"version-id": query["version-id"]} if query and "version-id" in query else {}
            whole = request.ask("HEAD", bucket, key, named, account=account)
            whole.close()
            if whole.status in _TELL_OF_OBJECT:
                raise S3Error("AccessDenied", reason="acl")
            if not whole.is_success and whole.status != 404:
                raise request.error_of(whole, bucket, key)
            check_object(request, whole, bucket, key, named, permission, account)
    except S3Error:
        answer.close()
        raise


def as_told(request: S3Request, error: S3Error) -> S3Error:
    """An error as who asks may know it: whom a policy lets do something with an object, it does not tell that there is none."""
    account, bucket, key = request.account or "", request.bucket, request.key
    if error.code not in ("NoSuchKey", "NoSuchVersion") or bucket is None or key is None:
        return error
    if "HTTP_X_AMZ_COPY_SOURCE" in request.environ or not request.granted.has(account, bucket, key):
        return error
    try:
        _check_may_list(request, bucket, None, True)
    except S3Error as refused:
        return refused
    return error


def _check_may_list(request: S3Request, bucket: str, account: str | None, is_granted: bool) -> None:
    """Who may not list a bucket is not told that a key is absent. Raises S3Error."""
    of = account or request.account or ""
    info = request.container_info(bucket, account)
    rules = bucket_rules.of_bucket(request, info, bucket, of)
    said = _said(request, request.identity, of, rules, "s3:ListBucket", bucket, None, None)
    if said is Verdict.ALLOWED:
        return
    if request.options.s3_acl:
        _check_bucket(request, "READ", bucket, rules, account)
    elif is_granted:
        path = request.native_path(bucket, account=account)
        made = make_environ(request.environ, "GET", path=path, query="")
        acl = info["read_acl"]
        made["swob.ACL"] = str_to_wsgi(acl) if acl else acl
        if request.native_rights().refusal(made) is not None:
            raise S3Error("AccessDenied", reason="no_list")


# -- ACLs of what is made -------------------------------------------------------------------------------------------------


def _acl_headers(request: S3Request) -> list[str]:
    """Those of ACLs that a request has."""
    environ = request.environ
    return [name for key, name in _ACL_HEADERS if key in environ]


def sent_acl(request: S3Request) -> Acl | None:
    """The ACL that a request's headers give to what it makes, None if they say nothing. Raises S3Error."""
    headers = {name: request.header(name) or "" for name in _acl_headers(request)}
    if not headers:
        return None
    # What nobody in particular has made is the bucket owner's: else it would be nobody's.
    owner = request.user_id or _owner_of_bucket(request) or ""
    bucket_owner = owner
    if headers.get("x-amz-acl", "").startswith("bucket-owner-") and request.key is not None:
        bucket_owner = _owner_of_bucket(request) or owner
    return forms.of_headers(headers, owner, bucket_owner)


def _owner_of_bucket(request: S3Request) -> str | None:
    acl = acl_of_bucket(request)
    return acl.owner if acl is not None else None


def check_sent_acl(request: S3Request) -> None:
    """Raises S3Error for an ACL in headers that a bucket does not take for itself or its objects."""
    headers = _acl_headers(request)
    if not headers:
        return
    rules = bucket_rules.of_request(request)
    if rules.ownership == bucket_rules.ENFORCED and (
        headers != ["x-amz-acl"] or request.header("x-amz-acl") != "bucket-owner-full-control"
    ):
        raise S3Error("AccessControlListNotSupported")
    if bucket_rules.BLOCK_ACLS not in rules.blocks:
        return
    found = sent_acl(request)
    if found is not None and found.is_public:
        raise S3Error("AccessDenied", reason="public_acl")


def check_changed_acl(request: S3Request, is_public: bool) -> None:
    """Raises S3Error for a change of an ACL that the bucket does not take."""
    rules = bucket_rules.of_request(request)
    if rules.ownership == bucket_rules.ENFORCED:
        raise S3Error("AccessControlListNotSupported")
    if is_public and bucket_rules.BLOCK_ACLS in rules.blocks:
        raise S3Error("AccessDenied", reason="public_acl")


def new_acl(request: S3Request) -> str:
    """The ACL of what a request makes, as it is stored. Raises S3Error."""
    if request.key is not None:
        check_sent_acl(request)
        taken = _taken_by_bucket_owner(request)
        if taken is not None:
            return taken.stored()
    sent = sent_acl(request)
    if sent is None:
        owner = request.user_id or _owner_of_bucket(request) or ""
        sent = forms.of_canned("private", owner, owner)
    return sent.stored()


def _taken_by_bucket_owner(request: S3Request) -> Acl | None:
    """The ACL of an object that belongs to the bucket's owner, whoever makes it; None for one that is its maker's."""
    ownership = bucket_rules.of_request(request).ownership
    if ownership == bucket_rules.WRITER:
        return None
    owner = _owner_of_bucket(request)
    if owner is None:
        return None
    if ownership == bucket_rules.PREFERRED and request.header("x-amz-acl") != "bucket-owner-full-control":
        return None
    return forms.of_canned("private", owner, owner)


def object_headers(request: S3Request) -> dict[str, str]:
    """The native headers (environ keys) that an object is made with. Raises S3Error."""
    if request.options.s3_acl:
        return {"HTTP_X_OBJECT_SYSMETA_S3API_ACL": new_acl(request)}
    check_sent_acl(request)
    return {}


def is_hidden(request: S3Request, bucket: str) -> bool:
    """Returns True for a bucket that a listing of buckets leaves out: `check_bucket_owner` shows nobody what isn't theirs."""
    options = request.options
    if not (options.s3_acl and options.check_bucket_owner):
        return False
    acl = acl_of_bucket(request, bucket)
    return acl is None or not acl.lets(request.user_id, "OWNER", options.allow_no_owner, _also(request))
