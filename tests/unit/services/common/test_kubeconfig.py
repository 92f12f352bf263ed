"""Kubeconfig files: what we write can be read, and what people have is read or refused with a reason."""

from __future__ import annotations

import base64
import stat

import pytest
import yaml

from cybernetes.core.auth.certificates import Authority
from cybernetes.core.clock import Random, SystemClock
from cybernetes.services.common.kubeconfig import KubeconfigError, read, write


@pytest.fixture(scope="module")
def authority():
    return Authority.create("test", SystemClock(), Random(1))


def test_what_is_written_can_be_read(tmp_path, authority):
    path = tmp_path / "admin.kubeconfig"
    pair = authority.issue_client("admin", ("system:masters",))
    write(
        path,
        server="https://127.0.0.1:6443",
        certificate_authority=authority.certificate,
        client_certificate=pair.certificate,
        client_key=pair.key,
        namespace="team",
    )
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [found.name for found in tmp_path.iterdir()] == ["admin.kubeconfig"]
    found = read(path)
    assert found.server == "https://127.0.0.1:6443" and found.namespace == "team"
    assert found.client_certificate == pair.certificate and found.client_key == pair.key
    assert found.certificate_authority == authority.certificate
    assert found.ssl_context() is not None
    assert yaml.safe_load(path.read_text())["current-context"] == "admin@cybernetes"


def document(**user):
    return {
        "clusters": [
            {"name": "c", "cluster": {"server": "https://h", "certificate-authority": "ca.pem"}},
            {"name": "open", "cluster": {"server": "http://h", "insecure-skip-tls-verify": True}},
            {"name": "odd", "cluster": {"server": "https://h", "tls-server-name": "other"}},
            {"name": "none", "cluster": {}},
        ],
        "users": [{"name": "u", "user": user}],
        "contexts": [
            {"name": "first", "context": {"cluster": "c", "user": "u"}},
            {"name": "second", "context": {"cluster": "open"}},
            {"name": "third", "context": {"cluster": "odd"}},
            {"name": "empty", "context": {"cluster": "none"}},
            {"name": "broken", "context": {"cluster": "missing"}},
        ],
        "current-context": "first",
    }


def put(tmp_path, content):
    path = tmp_path / "config"
    path.write_text(content if isinstance(content, str) else yaml.safe_dump(content))
    return path


def test_files_beside_it_and_other_contexts(tmp_path, authority):
    (tmp_path / "ca.pem").write_bytes(authority.certificate)
    (tmp_path / "token").write_text("secret\n")
    path = put(tmp_path, document(tokenFile="token"))
    found = read(path)
    assert found.certificate_authority == authority.certificate and found.token == "secret"
    assert found.namespace == "default"
    plain = read(path, "second")
    assert plain.ssl_context() is None and plain.is_insecure and not plain.token
    assert read(path, "third").tls_server_name == "other"


@pytest.mark.parametrize(
    ("content", "context", "message"),
    [
        ("[1, 2]", "", "it holds no mapping"),
        ("a: [", "", "cannot be read"),
        ({}, "", "has no current-context"),
        (document(), "nowhere", "has no context named 'nowhere'"),
        (document(), "broken", "has no cluster named 'missing'"),
        (document(), "empty", "cluster 'none' has no server"),
        (document(), "", "names ca.pem, which cannot be read"),
        (document(exec={"command": "login"}), "", "user 'u' logs in by exec"),
        (document(**{"auth-provider": {"name": "x"}}), "", "logs in by auth-provider"),
    ],
)
def test_what_cannot_be_used_is_refused_with_a_reason(tmp_path, content, context, message):
    with pytest.raises(KubeconfigError, match=message):
        read(put(tmp_path, content), context)


def test_data_that_is_not_base64(tmp_path, authority):
    (tmp_path / "ca.pem").write_bytes(authority.certificate)
    with pytest.raises(KubeconfigError, match="client-key-data is not base64"):
        read(put(tmp_path, document(**{"client-key-data": "%%%"})))
    good = document(**{"client-key-data": base64.b64encode(b"x").decode()})
    assert read(put(tmp_path, good)).client_key == b"x"


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(KubeconfigError, match="does not exist; start a cluster with: cybernetes up"):
        read(tmp_path / "nothing")
