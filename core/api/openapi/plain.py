"""The paths that belong to no resource: discovery, the version and the keys of ServiceAccount tokens."""

from __future__ import annotations

from collections.abc import Iterable

from cybernetes.core.api.openapi.names import META, group_word
from cybernetes.core.api.openapi.operations import OBJECT_TYPES, Path, document


def discovery_paths(groups: Iterable[str]) -> list[Path]:
    """``/api/``, ``/apis/`` and each ``/apis/GROUP/``."""
    found = []
    for group in groups:
        if not group:
            description = "get available API versions"
            found.append(document("/api/", "getCoreAPIVersions", description, "core", META + "APIVersions"))
            found.append(document("/apis/", "getAPIVersions", description, "apis", META + "APIGroupList"))
        else:
            word = group_word(group)
            path, tag = f"/apis/{group}/", word[:1].lower() + word[1:]
            found.append(document(path, f"get{word}APIGroup", "get information of a group", tag, META + "APIGroup"))
    return found


def version_path() -> Path:
    answer = "io.k8s.apimachinery.pkg.version.Info"
    found = document("/version/", "getCodeVersion", "get the version information for this server", "version", answer)
    operation = found.operations[0]._replace(consumes=OBJECT_TYPES[:1], produces=OBJECT_TYPES[:1])
    return Path(found.path, (operation,))


def key_paths() -> list[Path]:
    """What verifiers of ServiceAccount tokens read."""
    issuer = "get service account issuer OpenID "
    keys = document(
        "/openid/v1/jwks/",
        "getServiceAccountIssuerOpenIDKeyset",
        issuer + "JSON Web Key Set (contains public token verification keys)",
        "openid",
        "",
    )
    configuration = document(
        "/.well-known/openid-configuration/",
        "getServiceAccountIssuerOpenIDConfiguration",
        issuer + "configuration, also known as the 'OIDC discovery doc'",
        "WellKnown",
        "",
    )
    produces = ("application/jwk-set+json",), OBJECT_TYPES[:1]
    return [
        Path(found.path, (found.operations[0]._replace(consumes=(), produces=kinds),))
        for found, kinds in zip((keys, configuration), produces, strict=True)
    ]
