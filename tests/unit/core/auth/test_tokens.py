import base64
import json

import jwt
import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa, utils

from cybernetes.core.auth import certificates, tokens
from cybernetes.core.auth.keys import Key
from cybernetes.core.auth.tokens import Authenticator, InvalidToken, Issuer, Reference
from cybernetes.core.clock import ManualClock, Random, format_time
from cybernetes.core.objects import NODES, PODS, SECRETS, SERVICE_ACCOUNTS

AUDIENCE = "https://kubernetes.default.svc.cluster.local"
ACCOUNT = {"metadata": {"namespace": "default", "name": "app", "uid": "sa-1"}}


class World:
    def __init__(self, pem=None):
        self.clock = ManualClock()
        self.key = Key(pem or certificates.new_key_pem(Random(1)))
        self.issuer = Issuer([self.key], AUDIENCE, self.clock)
        self.objects = {(SERVICE_ACCOUNTS, "default", "app"): ACCOUNT}
        self.looked_up = 0
        self.authenticator = Authenticator([self.key], [AUDIENCE], [AUDIENCE], self.clock, self.lookup)

    def lookup(self, gvr, namespace, name):
        self.looked_up += 1
        return self.objects.get((gvr, namespace, name))

    def put(self, gvr, namespace, name, uid, **metadata):
        self.objects[gvr, namespace, name] = {"metadata": {"name": name, "uid": uid, **metadata}}

    def issue(self, **more):
        return self.issuer.issue(
            ACCOUNT, **{"audiences": [AUDIENCE], "expiration_s": 3600, "token_id": "jti-1", **more}
        )


@pytest.fixture
def world():
    return World()


def test_claims_are_upstreams(world):
    world.put(PODS, "default", "p", "pod-1")
    token = world.issue(pod=Reference("p", "pod-1"), node=Reference("n", "node-1"), warn_after_s=3607)
    public = jwt.PyJWK(world.issuer.jwks()["keys"][0])
    claims = jwt.decode(
        token,
        public,
        ["ES256"],
        audience=AUDIENCE,
        options={"verify_exp": False, "verify_iat": False, "verify_nbf": False},
    )
    assert jwt.get_unverified_header(token) == {"alg": "ES256", "kid": world.key.id}
    now = int(world.clock.now())
    assert claims == {
        "aud": [AUDIENCE],
        "exp": now + 3600,
        "iat": now,
        "iss": AUDIENCE,
        "jti": "jti-1",
        "kubernetes.io": {
            "namespace": "default",
            "node": {"name": "n", "uid": "node-1"},
            "pod": {"name": "p", "uid": "pod-1"},
            "serviceaccount": {"name": "app", "uid": "sa-1"},
            "warnafter": now + 3607,
        },
        "nbf": now,
        "sub": "system:serviceaccount:default:app",
    }


def test_the_user_of_a_pods_token(world):
    world.put(PODS, "default", "p", "pod-1")
    answer = world.authenticator.authenticate(world.issue(pod=Reference("p", "pod-1"), node=Reference("n", "node-1")))
    assert answer.user.name == "system:serviceaccount:default:app"
    assert answer.user.uid == "sa-1"
    assert answer.user.groups == ("system:serviceaccounts", "system:serviceaccounts:default")
    assert answer.user.extra == {
        "authentication.kubernetes.io/pod-name": ("p",),
        "authentication.kubernetes.io/pod-uid": ("pod-1",),
        "authentication.kubernetes.io/credential-id": ("JTI=jti-1",),
        "authentication.kubernetes.io/node-name": ("n",),
        "authentication.kubernetes.io/node-uid": ("node-1",),
    }
    assert answer.audiences == (AUDIENCE,)


@pytest.mark.parametrize(
    "make",
    [
        lambda: rsa.generate_private_key(65537, 2048),
        lambda: ec.generate_private_key(ec.SECP384R1()),
        lambda: ec.generate_private_key(ec.SECP521R1()),
    ],
)
def test_keys_of_other_kinds(make):
    world = World(certificates.key_pem(make()))
    token = world.issue()
    assert world.authenticator.authenticate(token).user.name == "system:serviceaccount:default:app"
    jwt.decode(
        token,
        jwt.PyJWK(world.issuer.jwks()["keys"][0]),
        [world.key.algorithm],
        audience=AUDIENCE,
        options={"verify_exp": False, "verify_iat": False, "verify_nbf": False},
    )


def tampered(token):
    head, body, signature = token.split(".")
    claims = json.loads(base64.urlsafe_b64decode(body + "=="))
    claims["sub"] = "system:serviceaccount:kube-system:admin"
    body = base64.urlsafe_b64encode(json.dumps(claims).encode()).rstrip(b"=").decode()
    return f"{head}.{body}.{signature}"


def unsigned(token):
    _, body, _ = token.split(".")
    head = base64.urlsafe_b64encode(b'{"alg":"none"}').rstrip(b"=").decode()
    return f"{head}.{body}."


def test_the_signature_is_what_the_crypto_library_expects(world):
    """RFC 7518 3.4: both numbers of the signature, in 32 bytes each."""
    signed, _, signature = world.issue().rpartition(".")
    raw = base64.urlsafe_b64decode(signature + "==")
    numbers = [int.from_bytes(raw[at : at + 32], "big") for at in (0, 32)]
    assert len(raw) == 64
    world.key.public.verify(utils.encode_dss_signature(*numbers), signed.encode(), ec.ECDSA(hashes.SHA256()))


@pytest.mark.parametrize("forge", [tampered, unsigned, lambda token: token[:-4] + "AAAA", lambda token: token[:-6]])
def test_forged_tokens_are_refused(world, forge):
    with pytest.raises(InvalidToken):
        world.authenticator.authenticate(forge(world.issue()))


@pytest.mark.parametrize(
    "text", ["", "a.b", "a.b.c", "....", "abcdef.0123456789abcdef", "é.é.é", "\udce9.a.b", "e30.e30.e30", "e30.W10.e30"]
)
def test_what_is_not_ours_is_left_to_others(world, text):
    assert world.authenticator.authenticate(text) is None


def test_a_key_that_is_not_known(world):
    stranger = World(certificates.new_key_pem(Random(2)))
    with pytest.raises(InvalidToken, match="no keys found"):
        world.authenticator.authenticate(stranger.issue())


def test_time(world):
    token = world.issue()
    world.clock.advance(3600 + 59)
    assert world.authenticator.authenticate(token)
    world.clock.advance(12)
    with pytest.raises(InvalidToken, match="service account token has expired"):
        world.authenticator.authenticate(token)


def test_a_kept_answer_ends_with_the_token(world):
    token = world.issue(expiration_s=5)
    assert world.authenticator.authenticate(token)
    world.clock.advance(66)
    with pytest.raises(InvalidToken, match="expired"):
        world.authenticator.authenticate(token)


def test_a_token_of_the_future(world):
    later = ManualClock(world.clock.now() + 120)
    token = Issuer([world.key], AUDIENCE, later).issue(ACCOUNT, audiences=[AUDIENCE], expiration_s=10, token_id="j")
    with pytest.raises(InvalidToken, match="not valid yet"):
        world.authenticator.authenticate(token)


def test_audiences(world):
    token = world.issue(audiences=["vault"])
    with pytest.raises(InvalidToken) as caught:
        world.authenticator.authenticate(token)
    assert str(caught.value) == f'token audiences ["vault"] is invalid for the target audiences ["{AUDIENCE}"]'
    assert world.authenticator.authenticate(token, ["vault", "other"]).audiences == ("vault",)


def test_what_it_is_bound_to_must_live(world):
    world.put(PODS, "default", "p", "pod-1")
    token = world.issue(pod=Reference("p", "pod-1"))
    assert world.authenticator.authenticate(token)
    world.put(PODS, "default", "p", "pod-2")
    assert world.authenticator.authenticate(token), "kept for ten seconds"
    world.authenticator.forget("pod-1")
    with pytest.raises(InvalidToken, match=r"pod UID \(pod-2\) does not match service account pod ref claim \(pod-1\)"):
        world.authenticator.authenticate(token)
    del world.objects[PODS, "default", "p"]
    with pytest.raises(InvalidToken, match="service account token has been invalidated"):
        world.authenticator.authenticate(token)


def test_a_pod_that_ends_may_finish_its_work(world):
    world.put(PODS, "default", "p", "pod-1", deletionTimestamp=format_time(world.clock.now()))
    token = world.issue(pod=Reference("p", "pod-1"))
    assert world.authenticator.authenticate(token)
    world.clock.advance(61)
    with pytest.raises(InvalidToken, match="invalidated"):
        world.authenticator.authenticate(token)


@pytest.mark.parametrize(
    ("bound", "gvr", "namespace", "text"),
    [
        (
            {"secret": Reference("x", "u1")},
            SECRETS,
            "default",
            "secret UID (u2) does not match service account secret ref claim (u1)",
        ),
        ({"node": Reference("x", "u1")}, NODES, "", "node UID (u2) does not match service account node ref claim (u1)"),
    ],
)
def test_secrets_and_nodes(world, bound, gvr, namespace, text):
    world.put(gvr, namespace, "x", "u2")
    with pytest.raises(InvalidToken) as caught:
        world.authenticator.authenticate(world.issue(**bound))
    assert str(caught.value) == text
    world.put(gvr, namespace, "x", "u1")
    assert world.authenticator.authenticate(world.issue(**bound))


def test_the_service_account_must_live(world):
    token = world.issue()
    world.put(SERVICE_ACCOUNTS, "default", "app", "sa-2")
    with pytest.raises(InvalidToken, match=r"service account UID \(sa-2\) does not match claim \(sa-1\)"):
        world.authenticator.authenticate(token)
    world.objects.clear()
    with pytest.raises(InvalidToken, match='serviceaccounts "app" not found'):
        world.authenticator.authenticate(token)


def test_a_token_seen_lately_is_not_checked_again(world):
    token = world.issue()
    first = world.authenticator.authenticate(token)
    count = world.looked_up
    assert world.authenticator.authenticate(token) is first
    assert world.looked_up == count
    world.clock.advance(11)
    world.authenticator.authenticate(token)
    assert world.looked_up > count


def test_what_is_kept_is_bounded(world, monkeypatch):
    monkeypatch.setattr(tokens, "KEEP_TOKENS_MAX", 3)
    for index in range(10):
        world.authenticator.authenticate(world.issue(token_id=str(index)))
    assert len(world.authenticator._kept) == 3


def test_tokens_in_secrets(world):
    token = world.issuer.issue_legacy(ACCOUNT, "app-token")
    with pytest.raises(InvalidToken, match="Token has been invalidated"):
        world.authenticator.authenticate(token)
    world.put(SECRETS, "default", "app-token", "s-1")
    with pytest.raises(InvalidToken, match="Token does not match server's copy"):
        world.authenticator.authenticate(token)
    world.objects[SECRETS, "default", "app-token"]["data"] = {"token": base64.b64encode(token.encode()).decode()}
    answer = world.authenticator.authenticate(token)
    assert (answer.user.name, answer.user.uid) == ("system:serviceaccount:default:app", "sa-1")


def test_documents(world):
    assert world.issuer.configuration("https://x/openid/v1/jwks") == {
        "issuer": AUDIENCE,
        "jwks_uri": "https://x/openid/v1/jwks",
        "response_types_supported": ["id_token"],
        "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": ["ES256"],
    }
    key = world.issuer.jwks()["keys"][0]
    assert (key["use"], key["kty"], key["crv"], key["alg"], key["kid"]) == ("sig", "EC", "P-256", "ES256", world.key.id)


def test_a_public_key_verifies_but_does_not_sign(world):
    from cryptography.hazmat.primitives import serialization

    private = serialization.load_pem_private_key(certificates.new_key_pem(Random(1)), None)
    public = Key(
        private.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    )
    assert public.id == world.key.id
    verifier = Authenticator([public], [AUDIENCE], [AUDIENCE], world.clock, world.lookup)
    assert verifier.authenticate(world.issue())
    with pytest.raises(ValueError, match="private"):
        Issuer([public], AUDIENCE, world.clock)
