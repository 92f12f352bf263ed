import ssl

import pytest
from cryptography import x509

from cybernetes.core.auth import User, certificates
from cybernetes.core.auth.certificates import Authority, Pair
from cybernetes.core.auth.clientcerts import Verifier
from cybernetes.core.clock import ManualClock, Random, SystemClock


@pytest.fixture
def authority():
    return Authority.create("kubernetes", SystemClock(), Random(1))


def handshake(tmp_path, authority, server: Pair, client: Pair | None, host: str):
    """A TLS handshake in memory; returns the server's side."""

    def load(context, pair, stem):
        (tmp_path / f"{stem}.crt").write_bytes(pair.certificate)
        (tmp_path / f"{stem}.key").write_bytes(pair.key)
        context.load_cert_chain(tmp_path / f"{stem}.crt", tmp_path / f"{stem}.key")

    trusted = authority.certificate.decode()
    server_context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    load(server_context, server, "server")
    server_context.load_verify_locations(cadata=trusted)
    server_context.verify_mode = ssl.CERT_OPTIONAL
    client_context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    client_context.load_verify_locations(cadata=trusted)
    if client:
        load(client_context, client, "client")
    there, back = ssl.MemoryBIO(), ssl.MemoryBIO()
    client_side = client_context.wrap_bio(back, there, server_hostname=host)
    server_side = server_context.wrap_bio(there, back, server_side=True)
    for _ in range(4):
        for side in (client_side, server_side):
            try:
                side.do_handshake()
            except ssl.SSLWantReadError:
                pass
    return server_side


def test_a_client_is_who_its_certificate_says(tmp_path, authority):
    server = authority.issue_server("kube-apiserver", certificates.api_server_names(), ["127.0.0.1", "::1"])
    client = authority.issue_client("jane", ["developers", "system:masters"])
    side = handshake(tmp_path, authority, server, client, "127.0.0.1")
    user = Verifier(authority.certificate, SystemClock()).verify(side.getpeercert(binary_form=True)).user
    assert (user.name, user.groups) == ("jane", ("developers", "system:masters"))
    assert user.extra["authentication.kubernetes.io/credential-id"][0].startswith("X509SHA256=")
    assert len(user.extra["authentication.kubernetes.io/credential-id"][0]) == 11 + 64


def test_no_certificate_is_no_user(tmp_path, authority):
    server = authority.issue_server("kube-apiserver", ["kubernetes.default.svc"], [])
    side = handshake(tmp_path, authority, server, None, "kubernetes.default.svc")
    assert side.getpeercert(binary_form=True) is None


def test_a_server_is_refused_under_another_name(tmp_path, authority):
    server = authority.issue_server("kube-apiserver", ["kubernetes"], [])
    with pytest.raises(ssl.SSLCertVerificationError):
        handshake(tmp_path, authority, server, None, "example.org")


def test_another_authority_is_not_trusted(tmp_path, authority):
    stranger = Authority.create("kubernetes", SystemClock(), Random(2))
    server = stranger.issue_server("kube-apiserver", ["kubernetes"], [])
    with pytest.raises(ssl.SSLCertVerificationError):
        handshake(tmp_path, authority, server, None, "kubernetes")


def test_a_server_certificate_does_not_authenticate_a_client(tmp_path, authority):
    server = authority.issue_server("kube-apiserver", ["kubernetes"], [])
    impostor = authority.issue_server("admin", [], [], organizations=["system:masters"])
    with pytest.raises(ssl.SSLError):
        handshake(tmp_path, authority, server, impostor, "kubernetes").getpeercert()


def test_a_request_is_signed_with_its_subject_and_names(authority):
    request = certificates.new_request(
        "system:node:a", ["system:nodes"], Random(3), names=["a"], addresses=["10.0.0.1"]
    )
    pem = authority.sign_request(request.certificate, ["digital signature", "server auth"], 3600)
    certificate = x509.load_pem_x509_certificate(pem)
    assert certificate.subject.rfc4514_string() == "CN=system:node:a,O=system:nodes"
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == ["a"]
    usage = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert [purpose.dotted_string for purpose in usage] == ["1.3.6.1.5.5.7.3.1"]
    certificate.verify_directly_issued_by(x509.load_pem_x509_certificate(authority.certificate))


def test_a_signed_request_never_outlives_the_authority():
    clock = ManualClock()
    authority = Authority.create("kubernetes", clock, Random(1))
    request = certificates.new_request("x", [], Random(3))
    clock.advance(certificates.AUTHORITY_LIFETIME_S - 100)
    pem = authority.sign_request(request.certificate, ["client auth"], 3600)
    assert certificates.expires_at(pem) == certificates.expires_at(authority.certificate)


def test_unknown_usages_are_refused(authority):
    request = certificates.new_request("x", [], Random(3))
    with pytest.raises(ValueError, match="unknown key usage 'magic'"):
        authority.sign_request(request.certificate, ["magic"], 3600)


def test_a_key_of_another_certificate_is_refused(authority):
    other = Authority.create("other", SystemClock(), Random(9))
    with pytest.raises(ValueError, match="not the key of its certificate"):
        Authority(Pair(authority.pair.certificate, other.pair.key), SystemClock(), Random(1))


def test_one_seed_gives_one_key():
    assert certificates.new_key_pem(Random(5)) == certificates.new_key_pem(Random(5))
    assert certificates.new_key_pem(Random(5)) != certificates.new_key_pem(Random(6))


def test_long_node_names_fit(authority):
    name = "system:node:" + "n" * 200
    certificate = x509.load_pem_x509_certificate(authority.issue_client(name, ["system:nodes"]).certificate)
    assert certificate.subject.rfc4514_string().startswith("CN=" + name)


def test_user_as_user_info():
    user = User("a", "1", ("g",), {"k": ("v",)})
    assert user.as_dict() == {"username": "a", "uid": "1", "groups": ["g"], "extra": {"k": ["v"]}}
