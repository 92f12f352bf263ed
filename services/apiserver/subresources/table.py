"""Every handler that is not the generic one: by (group, resource, subresource), then by verb.

A subresource of "" is the resource itself: reviews, which are answered and not kept.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from cybernetes.core.auth import rbac, tokens
from cybernetes.services.apiserver.authentication import Authentication
from cybernetes.services.apiserver.configured.connecting import admitted
from cybernetes.services.apiserver.subresources import proxy, reviews, streams
from cybernetes.services.apiserver.subresources.binding import bind
from cybernetes.services.apiserver.subresources.components import get_component, list_components
from cybernetes.services.apiserver.subresources.eviction import evict
from cybernetes.services.apiserver.subresources.scale import get_scale, patch_scale, update_scale
from cybernetes.services.apiserver.subresources.streams import Nodes
from cybernetes.services.apiserver.subresources.token import creator

Special = Mapping[tuple[str, str, str], Mapping[str, Any]]


def special(
    authorizer: rbac.Authorizer,
    authentication: Authentication,
    issuer: tokens.Issuer | None,
    service_accounts: tokens.Authenticator | None,
    nodes: Nodes,
) -> Special:
    """What ``Routes`` asks first."""
    carried = admitted(proxy.handler(nodes))
    every_verb = dict.fromkeys(("", "create", "delete", "get", "patch", "update"), carried)
    stream = streams.handlers(nodes)
    upgrades = {
        name: dict.fromkeys(("create", "get"), admitted(stream[name])) for name in ("exec", "attach", "portforward")
    }
    authorization, authentication_group = "authorization.k8s.io", "authentication.k8s.io"
    return {
        ("*", "*", "scale"): {"get": get_scale, "update": update_scale, "patch": patch_scale},
        ("", "bindings", ""): {"create": bind},
        ("", "componentstatuses", ""): {"get": get_component, "list": list_components},
        ("", "pods", "binding"): {"create": bind},
        ("", "pods", "eviction"): {"create": evict},
        ("", "pods", "log"): {"get": stream["log"]},
        ("", "pods", "exec"): upgrades["exec"],
        ("", "pods", "attach"): upgrades["attach"],
        ("", "pods", "portforward"): upgrades["portforward"],
        ("", "pods", "proxy"): every_verb,
        ("", "services", "proxy"): every_verb,
        ("", "nodes", "proxy"): every_verb,
        ("", "serviceaccounts", "token"): {"create": creator(issuer)},
        (authorization, "subjectaccessreviews", ""): {"create": reviews.review_access},
        (authorization, "localsubjectaccessreviews", ""): {"create": reviews.review_access},
        (authorization, "selfsubjectaccessreviews", ""): {"create": reviews.review_own_access},
        (authorization, "selfsubjectrulesreviews", ""): {"create": reviews.rules_reviewer(authorizer)},
        (authentication_group, "selfsubjectreviews", ""): {"create": reviews.review_self},
        (authentication_group, "tokenreviews", ""): {
            "create": reviews.token_reviewer(authentication, service_accounts)
        },
    }
