from __future__ import annotations

import pytest

from cybernetes.core.errors import ApiError
from cybernetes.services.apiserver.negotiation import PROTOBUF, negotiate

PARTIAL = "PartialObjectMetadata"
TABLE = "application/json;as=Table;v=v1;g=meta.k8s.io"


@pytest.mark.parametrize(
    ("accept", "media", "kind"),
    [
        ("", "application/json", ""),
        ("*/*", "application/json", ""),
        ("application/*", "application/json", ""),
        ("application/yaml", "application/yaml", ""),
        ("text/html, application/yaml", "application/yaml", ""),
        ("application/vnd.kubernetes.protobuf,application/json", PROTOBUF, ""),
        ("application/vnd.kubernetes.protobuf, */*", PROTOBUF, ""),
        ("application/vnd.kubernetes.protobuf;stream=watch", PROTOBUF, ""),
        ("application/vnd.kubernetes.protobuf;stream=x,application/json", "application/json", ""),
        ("application/vnd.kubernetes.protobuf;as=Table;v=v1;g=meta.k8s.io,application/json", "application/json", ""),
        ("application/vnd.kubernetes.protobuf;as=PartialObjectMetadata;v=v1;g=meta.k8s.io", PROTOBUF, PARTIAL),
        (f"{TABLE},application/json", "application/json", "Table"),
        ("application/json;as=Table;v=v9;g=meta.k8s.io,application/json", "application/json", ""),
        (
            "application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io",
            "application/json",
            "PartialObjectMetadataList",
        ),
        ("application/json;q=0.1,application/yaml;q=0.9", "application/yaml", ""),
        ("application/yaml;q=0,application/json", "application/json", ""),
        ("application/json;q=x,application/yaml", "application/yaml", ""),
    ],
)
def test_the_first_clause_that_fits_wins(accept: str, media: str, kind: str) -> None:
    form = negotiate(accept)
    assert (form.media, form.kind) == (media, kind)


@pytest.mark.parametrize("accept", ["text/html", "application/json;as=Pod;v=v1;g=", "application/cbor"])
def test_what_cannot_be_given_is_406(accept: str) -> None:
    with pytest.raises(ApiError) as caught:
        negotiate(accept)
    assert caught.value.code == 406
    assert caught.value.message == (
        "only the following media types are accepted: application/json, application/yaml, "
        "application/vnd.kubernetes.protobuf"
    )


def test_watches_have_no_yaml() -> None:
    with pytest.raises(ApiError):
        negotiate("application/yaml", is_watch=True)
    assert negotiate(PROTOBUF, is_watch=True).is_protobuf


def test_custom_resources_have_protobuf_for_their_metadata_alone() -> None:
    with pytest.raises(ApiError):
        negotiate(PROTOBUF, is_custom=True)
    assert negotiate(f"{PROTOBUF},application/json", is_custom=True).media == "application/json"
    form = negotiate(f"{PROTOBUF};as=PartialObjectMetadataList;v=v1;g=meta.k8s.io", is_custom=True)
    assert (form.is_protobuf, form.kind) == (True, "PartialObjectMetadataList")


def test_discovery_has_its_own_form() -> None:
    aggregated = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"
    form = negotiate(aggregated, discovery=True)
    assert form.content_type == "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"
    assert negotiate(f"{TABLE},application/json", discovery=True).kind == ""


def test_what_is_not_kept_has_no_table() -> None:
    with pytest.raises(ApiError) as refused:
        negotiate(TABLE, has_table=False)
    assert refused.value.code == 406
    assert negotiate(f"{TABLE},application/json", has_table=False).kind == ""
