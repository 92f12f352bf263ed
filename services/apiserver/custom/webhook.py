"""Conversion by webhook: asks the one that a definition names, for all objects at once."""

from __future__ import annotations

from collections.abc import Sequence

from cybernetes.core.api.custom import conversion
from cybernetes.core.api.custom.conversion import ConversionFailed
from cybernetes.core.api.resource import Resource
from cybernetes.core.clock import Random
from cybernetes.core.errors import failure
from cybernetes.core.objects import Object
from cybernetes.services.apiserver.webhookclient import WebhookClient, WebhookError

#: How long one request may take, upstream's default.
TIMEOUT_S = 30.0


class Converter:
    """What ``Views.convert`` is: see ``views.Convert``."""

    def __init__(self, client: WebhookClient, random: Random) -> None:
        self._client = client
        self._random = random

    async def __call__(self, resource: Resource, objects: Sequence[Object], api_version: str) -> list[Object]:
        """The objects in another version, those included that are in it already. Raises ApiError 500."""
        foreign = [obj for obj in objects if obj.get("apiVersion") != api_version]
        if not foreign:
            return list(objects)
        custom = resource.custom
        assert custom is not None
        webhook = custom.definition["spec"]["conversion"]["webhook"]
        source = foreign[0]
        kind = source["kind"] if len(foreign) == 1 else f"{source['kind']}List"
        name = f"conversion webhook for {source['apiVersion'] if len(foreign) == 1 else api_version}, Kind={kind}"
        uid = self._random.uid()
        try:
            version, body = conversion.review(webhook.get("conversionReviewVersions") or (), foreign, api_version, uid)
            answer = await self._client.post(webhook["clientConfig"], body, TIMEOUT_S)
            made = iter(conversion.converted(version, uid, answer, foreign, api_version))
        except WebhookError as error:
            raise failure(500, "", f"{name} failed: {error}") from error
        except ConversionFailed as error:
            raise failure(500, "", f"{name}{error}") from error
        return [obj if obj.get("apiVersion") == api_version else next(made) for obj in objects]
