"""What policies say: patterns, conditions, principals, and that a denial wins (spec s3.md 16.2)."""

import fnmatch
import json
import re
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from swift.s3.errors import S3Error
from swift.s3.identity import NOBODY, Identity
from swift.s3.policy import document, public
from swift.s3.policy.evaluate import Verdict, verdict
from swift.s3.policy.patterns import Pattern, plain_glob

WHO = Identity("test:tester", "AUTH_test", "test", ("tester",))
OTHER = Identity("test2:other", "AUTH_test2", "test2", ("other",))
ALLOW, DENY, NOTHING = Verdict.ALLOWED, Verdict.DENIED, Verdict.NOTHING


def policy(*statements, version="2012-10-17"):
    return document.parse(json.dumps({"Version": version, "Statement": list(statements)}))


def statement(effect="Allow", principal="*", action="s3:GetObject", resource="arn:aws:s3:::b/*", **more):
    return {"Effect": effect, "Principal": principal, "Action": action, "Resource": resource, **more}


def said(found, who=WHO, action="s3:GetObject", resource="arn:aws:s3:::b/k", **values):
    keys = {key.replace("__", ":").replace("_", "-"): value for key, value in values.items()}

    def lookup(key):
        value = keys.get(key)
        return None if value is None else (value,) if isinstance(value, str) else tuple(value)

    return verdict(found, who, action, resource, lookup)


# -- patterns ---------------------------------------------------------------------------------------------------------


LETTERS = st.text(alphabet="ab/[]!.\n", max_size=12)
PATTERNS = st.text(alphabet="ab*?/[]!.\n", max_size=12)


@given(pattern=PATTERNS, text=LETTERS)
def test_patterns_mean_what_they_always_did(pattern, text):
    plain = re.sub(
        r"[\[\]!]", lambda found: f"[{found.group()}]" if found.group() == "[" else found.group(), pattern
    )
    assert plain_glob(pattern).matches(text) == bool(re.fullmatch(fnmatch.translate(plain), text))


@given(st.lists(st.one_of(LETTERS, st.just("*")), max_size=6), st.data())
def test_what_a_pattern_is_filled_with_it_matches(parts, data):
    text = "".join(data.draw(LETTERS) if part == "*" else part for part in parts)
    assert plain_glob("".join(parts)).matches(text)


@pytest.mark.parametrize(
    "pattern, text",
    [
        ("*a" * 10_000 + "b", "a" * 1024),
        ("a*" * 500 + "b", "a" * 1024),
        ("*" + "a?" * 400 + "b", "a" * 1024),
        ("*".join(["a?a"] * 250) + "b", "a" * 1024),
    ],
)
def test_no_pattern_is_slow(pattern, text):
    start = time.monotonic()
    glob = Pattern(pattern, False).glob(lambda _name: None)
    assert not any(glob.matches(text) for _ in range(10))
    assert time.monotonic() - start < 5  # a pattern that tried everything would take years


def test_variables_stand_for_what_they_are():
    values = {"aws:username": "a*b", "s3:prefix": "x"}
    for text, wanted, other in (
        ("${aws:username}/*", "a*b/k", "aXb/k"),
        ("${AWS:UserName}", "a*b", "ab"),
        ("${*}${?}${$}", "*?$", "abc"),
        ("${aws:missing, 'dflt'}/x", "dflt/x", "/x"),
        ("pre-${s3:prefix}-*", "pre-x-1", "pre-y-1"),
    ):
        glob = Pattern(text, True).glob(values.get)
        assert glob.matches(wanted) and not glob.matches(other), text
    assert Pattern("${aws:missing}", True).glob(values.get) is None
    assert Pattern("${aws:username}", False).glob(values.get).matches("${aws:username}")


# -- statements -------------------------------------------------------------------------------------------------------


def test_who_is_meant():
    for principal, hits in (
        ("*", (WHO, OTHER, NOBODY)),
        ({"AWS": "*"}, (WHO, OTHER, NOBODY)),
        ({"AWS": "arn:aws:iam::test:user/tester"}, (WHO,)),
        ({"AWS": ["arn:aws:iam::AUTH_test:user/tester"]}, (WHO,)),
        ({"AWS": "arn:aws:iam::test2:root"}, (OTHER,)),
        ({"AWS": ["test", "AUTH_test2"]}, (WHO, OTHER)),
        ({"CanonicalUser": "test2:other"}, (OTHER,)),
        ({"Service": "logging.s3.amazonaws.com"}, ()),
        ({"AWS": "arn:aws:iam::tes:user/tester"}, ()),
    ):
        allow = policy(statement(principal=principal))
        contrary = statement(effect="Deny")
        del contrary["Principal"]
        deny = policy({**contrary, "NotPrincipal": principal})
        for who in (WHO, OTHER, NOBODY):
            assert said(allow, who) is (ALLOW if who in hits else NOTHING), (principal, who)
            assert said(deny, who) is (NOTHING if who in hits else DENY), (principal, who)


@pytest.mark.parametrize("turn", [1, -1])
def test_a_variable_without_a_value_hides_none_of_its_neighbours(turn):
    """Nobody dodges a denial by having no name, whichever of its values comes first."""
    names = ["arn:aws:s3:::b/home/${aws:username}/*", "arn:aws:s3:::b/secret/*"][::turn]
    found = policy(statement("Deny", resource=names))
    assert said(found, NOBODY, resource="arn:aws:s3:::b/secret/x") is DENY
    assert said(found, NOBODY, resource="arn:aws:s3:::b/home/x/y") is NOTHING
    values = ["${aws:username}", "http://evil/"][::turn]
    found = policy(statement("Deny", Condition={"StringEquals": {"aws:Referer": values}}))
    assert said(found, NOBODY, aws__Referer="x") is NOTHING
    assert said(found, NOBODY, aws__referer="http://evil/") is DENY


def test_which_actions_and_resources():
    found = policy(statement(action=["s3:get*", "s3:PutObject"], resource="arn:aws:s3:::b/a/*"))
    resource = "arn:aws:s3:::b/a/x/y"
    assert said(found, action="s3:GetObjectTagging", resource=resource) is ALLOW
    assert said(found, action="s3:PutObject", resource=resource) is ALLOW
    assert said(found, action="s3:PutObjectTagging", resource=resource) is NOTHING
    assert said(found, resource="arn:aws:s3:::b/A/x") is NOTHING
    assert said(found, resource="arn:aws:s3:::b/a") is NOTHING
    rest = {
        "Effect": "Deny",
        "Principal": "*",
        "NotAction": "s3:GetObject",
        "NotResource": "arn:aws:s3:::b/a/*",
    }
    deny = policy(rest)
    assert said(deny, action="s3:PutObject") is DENY
    assert said(deny, action="s3:GetObject") is NOTHING
    assert said(deny, action="s3:PutObject", resource=resource) is NOTHING


EFFECTS = st.lists(
    st.tuples(
        st.sampled_from(["Allow", "Deny"]),
        st.sampled_from(["*", {"AWS": "test"}, {"AWS": "test2"}]),
        st.sampled_from(["s3:GetObject", "s3:*", "s3:PutObject"]),
        st.sampled_from(["arn:aws:s3:::b/*", "arn:aws:s3:::b/k", "arn:aws:s3:::b/other"]),
    ),
    min_size=1,
    max_size=6,
)


@given(EFFECTS, st.sampled_from([WHO, OTHER, NOBODY]))
def test_a_denial_wins_wherever_it_stands(parts, who):
    alone = [said(policy(statement(*part)), who) for part in parts]
    wanted = DENY if DENY in alone else ALLOW if ALLOW in alone else NOTHING
    assert said(policy(*(statement(*part) for part in parts)), who) is wanted
    assert said(policy(*(statement(*part) for part in reversed(parts))), who) is wanted


def holds(operator, key, wanted, version="2012-10-17", **values):
    return said(policy(statement(Condition={operator: {key: wanted}}), version=version), **values) is ALLOW


@pytest.mark.parametrize(
    "operator, key, wanted, value, is_met",
    [
        ("StringEquals", "aws:UserAgent", ["a", "b"], "b", True),
        ("StringEquals", "aws:UserAgent", "a*", "ab", False),
        ("StringNotEquals", "aws:UserAgent", ["a", "b"], "b", False),
        ("StringNotEquals", "aws:UserAgent", ["a", "b"], "c", True),
        ("StringEqualsIgnoreCase", "aws:UserAgent", "AbC", "aBc", True),
        ("StringLike", "aws:UserAgent", "a*", "ab", True),
        ("StringNotLike", "aws:UserAgent", ["a*", "b*"], "bc", False),
        ("NumericLessThanEquals", "s3:max-keys", "10", "10", True),
        ("NumericLessThan", "s3:max-keys", 10, "10", False),
        ("NumericGreaterThan", "s3:max-keys", "9.5", "10", True),
        ("NumericEquals", "s3:max-keys", "10", "ten", False),
        ("NumericNotEquals", "s3:max-keys", "10", "11", True),
        ("DateLessThan", "aws:CurrentTime", "2030-01-01T00:00:00Z", "2029-12-31T23:59:59Z", True),
        ("DateGreaterThan", "aws:CurrentTime", "2030-01-01", "2029-12-31T23:59:59Z", False),
        ("DateLessThan", "aws:EpochTime", "2030-01-01T00:00:00+01:00", "1893452399", True),
        ("Bool", "aws:SecureTransport", False, "false", True),
        ("Bool", "aws:SecureTransport", "true", "false", False),
        ("IpAddress", "aws:SourceIp", "10.0.0.0/8", "10.1.2.3", True),
        ("IpAddress", "aws:SourceIp", ["2001:db8::/32", "10.0.0.1"], "2001:db8::7", True),
        ("IpAddress", "aws:SourceIp", "10.0.0.0/8", "::ffff:10.1.2.3", True),
        ("IpAddress", "aws:SourceIp", "10.0.0.0/8", "::1", False),
        ("NotIpAddress", "aws:SourceIp", "10.0.0.0/8", "11.0.0.1", True),
        ("NotIpAddress", "aws:SourceIp", "10.0.0.0/8", "10.0.0.1", False),
        ("ArnLike", "aws:PrincipalArn", "arn:aws:iam::*:user/t*", "arn:aws:iam::test:user/tester", True),
        ("ArnLike", "aws:PrincipalArn", "arn:*:user/t*", "arn:aws:iam::test:user/tester", False),
        ("ArnNotEquals", "aws:PrincipalArn", "arn:aws:iam::x:user/y", "arn:aws:iam::test:user/tester", True),
        ("Null", "aws:Referer", "true", None, True),
        ("Null", "aws:Referer", "false", None, False),
        ("Null", "aws:Referer", False, "x", True),
        ("StringEquals", "aws:Referer", "x", None, False),
        ("StringNotEquals", "aws:Referer", "x", None, True),
        ("StringEqualsIfExists", "aws:Referer", "x", None, True),
        ("StringEqualsIfExists", "aws:Referer", "x", "y", False),
        ("ForAllValues:StringEquals", "s3:RequestObjectTagKeys", ["a", "b"], ["a"], True),
        ("ForAllValues:StringEquals", "s3:RequestObjectTagKeys", ["a", "b"], ["a", "c"], False),
        ("ForAllValues:StringEquals", "s3:RequestObjectTagKeys", ["a", "b"], None, True),
        ("ForAnyValue:StringEquals", "s3:RequestObjectTagKeys", ["a", "b"], ["c", "b"], True),
        ("ForAnyValue:StringEquals", "s3:RequestObjectTagKeys", ["a", "b"], None, False),
        ("ForAnyValue:StringNotEquals", "s3:RequestObjectTagKeys", ["a"], ["a", "b"], True),
        ("ForAllValues:StringNotEquals", "s3:RequestObjectTagKeys", ["a"], ["a", "b"], False),
        ("BinaryEquals", "aws:UserAgent", "YQ==", "YQ==", True),
    ],
)  # fmt: skip
def test_conditions(operator, key, wanted, value, is_met):
    name = key.lower().replace("-", "_").replace(":", "__")
    assert holds(operator, key, wanted, **{name: value}) is is_met
    assert holds(operator, key.upper(), wanted, **{name: value}) is is_met


def test_variables_in_conditions_and_in_old_policies():
    values = {"s3__prefix": "home/tester/", "aws__username": "tester"}
    assert holds("StringLike", "s3:prefix", "home/${aws:username}/*", **values)
    assert not holds("StringLike", "s3:prefix", "home/${aws:username}/*", version="2008-10-17", **values)
    # A variable that stands for nothing: the statement is about nobody, a denial neither.
    condition = {"StringNotEquals": {"s3:prefix": "${aws:referer}"}}
    assert said(policy(statement("Deny", Condition=condition)), **values) is NOTHING


def test_a_value_too_long_to_be_compared_is_refused():
    condition = {"StringNotLike": {"aws:UserAgent": "*bad*"}}
    assert said(policy(statement(Condition=condition)), aws__useragent="x" * 5000) is DENY


# -- documents --------------------------------------------------------------------------------------------------------

GOOD = statement()


def without(name):
    return {key: value for key, value in GOOD.items() if key != name}


@pytest.mark.parametrize(
    "text, message",
    [
        ("", "Policies must be valid JSON and the first byte must be '{'"),
        (" {}", "Policies must be valid JSON and the first byte must be '{'"),
        ("[" * 10_000, "Policies must be valid JSON and the first byte must be '{'"),
        ('{"Statement":' + "[" * 9_000 + "]" * 9_000 + "}", "Policies must be valid JSON and the first byte must be '{'"),
        ('{"a":' * 3_000 + "1" + "}" * 3_000, "Policies must be valid JSON and the first byte must be '{'"),
        ('{"Version": "2012-10-17", "Version": "2012-10-17"}', "Policies must be valid JSON and the first byte must be '{'"),
        ("{" + " " * 20_480 + "}", "Policy exceeds the maximum allowed document size."),
        ({}, "Missing required field Statement"),
        ({"Statement": []}, "Could not parse the policy: Statement is empty!"),
        ({"Version": "2011-01-01", "Statement": [GOOD]}, "The policy must contain a valid version string"),
        ({"Statement": [GOOD], "Else": 1}, "Unknown field Else"),
        ({"Statement": [{**GOOD, "Else": 1}]}, "Unknown field Else"),
        ({"Statement": [without("Effect")]}, "Missing required field Effect"),
        ({"Statement": [without("Principal")]}, "Missing required field Principal"),
        ({"Statement": [without("Action")]}, "Missing required field Action"),
        ({"Statement": [without("Resource")]}, "Missing required field Resource"),
        ({"Statement": [{**GOOD, "Effect": "allow"}]}, "Invalid effect: allow"),
        ({"Statement": [{**GOOD, "NotAction": "s3:*"}]}, "Invalid policy syntax."),
        ({"Statement": [{**GOOD, "Principal": {"AWS": "arn:aws:iam::*:user/x"}}]}, "Invalid principal in policy"),
        ({"Statement": [{**GOOD, "Principal": {"AWS": []}}]}, "Invalid principal in policy"),
        ({"Statement": [{**GOOD, "Principal": "test"}]}, "Invalid principal in policy"),
        ({"Statement": [{**GOOD, "Principal": {"Else": "x"}}]}, "Invalid principal in policy"),
        ({"Statement": [{**GOOD, "Action": "s3:NoSuch"}]}, "Policy has invalid action"),
        ({"Statement": [{**GOOD, "Action": "ec2:*"}]}, "Policy has invalid action"),
        ({"Statement": [{**GOOD, "Action": []}]}, "Policy has invalid action"),
        ({"Statement": [{**GOOD, "Resource": "b/*"}]}, "Policy has invalid resource"),
        ({"Statement": [{**GOOD, "Resource": "arn:aws:s3:::${x"}]}, "Policy has invalid resource"),
        ({"Statement": [{**GOOD, "Condition": {"StringEquals": {"no:such": "x"}}}]}, "Policy has an invalid condition key"),
        ({"Statement": [{**GOOD, "Condition": {"StringAlmost": {"aws:Referer": "x"}}}]}, "Invalid Condition type : StringAlmost"),
        ({"Statement": [{**GOOD, "Condition": {"NullIfExists": {"aws:Referer": "true"}}}]}, "Invalid Condition type : NullIfExists"),
        ({"Statement": [{**GOOD, "Condition": {"IpAddress": {"aws:SourceIp": "10.0.0/99"}}}]}, "Invalid value for condition type : IpAddress"),
        ({"Statement": [{**GOOD, "Condition": {"StringEquals": {"aws:Referer": {}}}}]}, "Invalid policy syntax."),
        ({"Statement": [{**GOOD, "Condition": []}]}, "Invalid policy syntax."),
        ({"Statement": [{**GOOD, "Sid": "a"}, {**GOOD, "Sid": "a"}]}, "Statement IDs (SID) in a single policy must be unique."),
    ],
)  # fmt: skip
def test_what_is_no_policy(text, message):
    if not isinstance(text, str):
        text = json.dumps({"Version": "2012-10-17", **text})
    with pytest.raises(S3Error) as caught:
        document.parse(text)
    assert (caught.value.code, caught.value.status, caught.value.message) == ("MalformedPolicy", 400, message)


@given(st.recursive(st.none() | st.booleans() | st.floats() | st.text(max_size=8), lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["Statement", "Principal", "Action", "Resource", "Effect", "Condition", "AWS", "StringLike", "aws:Referer"]), inner, max_size=4), max_leaves=20))  # fmt: skip
def test_whatever_comes_is_a_policy_or_is_told_so(value):
    try:
        document.parse(json.dumps({"Statement": value}))
    except S3Error as error:
        assert error.code == "MalformedPolicy"


@pytest.mark.parametrize(
    "resource, action, message",
    [
        ("arn:aws:s3:::other/*", "s3:GetObject", "Policy has invalid resource"),
        ("arn:aws:s3:::bb/*", "s3:GetObject", "Policy has invalid resource"),
        ("arn:aws:s3:::b", "s3:GetObject", "Action does not apply to any resource(s) in statement"),
        ("arn:aws:s3:::b/*", "s3:ListBucket", "Action does not apply to any resource(s) in statement"),
        ("arn:aws:s3:::b/*", ["s3:GetObject", "s3:ListBucket"], "Action does not apply to any resource(s) in statement"),
    ],
)  # fmt: skip
def test_a_policy_is_about_its_bucket(resource, action, message):
    with pytest.raises(S3Error) as caught:
        document.check_bucket(policy(statement(resource=resource, action=action)), "b")
    assert caught.value.message == message


def test_what_is_about_a_bucket_and_its_objects():
    for resource, action in (
        (["arn:aws:s3:::b", "arn:aws:s3:::b/*"], ["s3:GetObject", "s3:ListBucket"]),
        ("arn:aws:s3:::b*", "s3:*"),
        ("arn:aws:s3:::b", "*"),
    ):
        document.check_bucket(policy(statement(resource=resource, action=action)), "b")


@pytest.mark.parametrize(
    "change, is_public",
    [
        ({}, True),
        ({"Principal": {"AWS": "*"}}, True),
        ({"Principal": {"AWS": "test"}}, False),
        ({"Effect": "Deny"}, False),
        ({"Condition": {"IpAddress": {"aws:SourceIp": "10.0.0.0/8"}}}, False),
        ({"Condition": {"IpAddress": {"aws:SourceIp": ["10.0.0.0/8", "0.0.0.0/0"]}}}, True),
        ({"Condition": {"IpAddress": {"aws:SourceIp": ["0.0.0.0/1", "128.0.0.0/1"]}}}, True),
        ({"Condition": {"IpAddress": {"aws:SourceIp": ["::/1", "8000::/1"]}}}, True),
        ({"Condition": {"IpAddress": {"aws:SourceIp": "2001:db8::/32"}}}, False),
        ({"Condition": {"NotIpAddress": {"aws:SourceIp": "10.0.0.0/8"}}}, True),
        ({"Condition": {"IpAddressIfExists": {"aws:SourceIp": "10.0.0.0/8"}}}, True),
        ({"Condition": {"StringEquals": {"aws:PrincipalAccount": "test"}}}, False),
        ({"Condition": {"StringLike": {"aws:PrincipalArn": "arn:*"}}}, True),
        ({"Condition": {"StringEquals": {"aws:Referer": "x"}}}, True),
    ],
)
def test_what_lets_everybody_in(change, is_public):
    assert public.is_public(policy({**GOOD, **change})) is is_public


def test_the_policy_of_a_session_says_nothing_of_whom():
    text = json.dumps(
        {"Version": "2012-10-17", "Statement": {"Effect": "Allow", "Action": "s3:*", "Resource": "*"}}
    )
    found = document.parse(text, True)
    assert said(found, NOBODY) is ALLOW
    for wrong in (json.dumps({"Statement": GOOD}), text.replace('"*"', '"' + "x" * 2048 + '"')):
        with pytest.raises(S3Error):
            document.parse(wrong, True)
