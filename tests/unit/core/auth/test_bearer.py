import base64

import pytest

from cybernetes.core.auth import bearer
from cybernetes.core.auth.user import User

NOW = 1_700_000_000.0


def secret(**data):
    values = {
        "token-id": "abcdef",
        "token-secret": "0123456789abcdef",
        "usage-bootstrap-authentication": "true",
        **data,
    }
    return {
        "metadata": {"name": "bootstrap-token-abcdef", "namespace": "kube-system"},
        "type": "bootstrap.kubernetes.io/token",
        "data": {key.replace("_", "-"): base64.b64encode(value.encode()).decode() for key, value in values.items()},
    }


def ask(stored, token="abcdef.0123456789abcdef"):
    return bearer.bootstrap_user(token, {"bootstrap-token-abcdef": stored}.get, NOW)


def test_a_bootstrap_token():
    assert ask(secret()) == User("system:bootstrap:abcdef", groups=("system:bootstrappers",))
    assert ask(secret(expiration="2033-01-01T00:00:00Z")) is not None
    extra = secret(auth_extra_groups="system:bootstrappers:b,system:bootstrappers:a")
    assert ask(extra).groups == ("system:bootstrappers", "system:bootstrappers:a", "system:bootstrappers:b")


@pytest.mark.parametrize(
    "stored",
    [
        None,
        secret(**{"token-secret": "0123456789abcdeX"}),
        secret(**{"token-id": "abcdeg"}),
        secret(**{"usage-bootstrap-authentication": "false"}),
        secret(expiration="2020-01-01T00:00:00Z"),
        secret(expiration="tomorrow"),
        secret(auth_extra_groups="system:masters"),
        {**secret(), "type": "Opaque"},
        {**secret(), "metadata": {"deletionTimestamp": "2023-01-01T00:00:00Z"}},
        {**secret(), "data": None},
    ],
)
def test_refused_bootstrap_tokens(stored):
    assert ask(stored) is None


@pytest.mark.parametrize(
    "token", ["", "abcdef", "abcdef.short", "ABCDEF.0123456789abcdef", "abcdef.0123456789abcdef\n"]
)
def test_what_is_no_bootstrap_token(token):
    assert ask(secret(), token) is None
    assert bearer.bootstrap_secret_name(token) is None


def test_the_name_of_the_secret():
    assert bearer.bootstrap_secret_name("abcdef.0123456789abcdef") == "bootstrap-token-abcdef"


def test_token_file():
    users = bearer.read_token_file('t1,jane,1\nt2,joe,2,"a,b"\n\n,nobody,3\nt1,other,4\n')
    assert users == {"t1": User("other", "4"), "t2": User("joe", "2", ("a", "b"))}
    with pytest.raises(ValueError, match=r"line 2 must have at least 3 columns .* found 2"):
        bearer.read_token_file("t1,jane,1\nt2,joe\n")
