"""Asks extenders over HTTP: those that filter one after another, those that rank all at once."""

from __future__ import annotations

import asyncio
import base64
import itertools
import logging
import ssl
import tempfile
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import orjson

from cybernetes.core.objects import Object, uid_of
from cybernetes.core.scheduling.extender import Advice, Extender, ExtenderError, Review
from cybernetes.core.scheduling.interface import Code, Status

if TYPE_CHECKING:
    import aiohttp

log = logging.getLogger(__name__)

#: More than any list of nodes; what is longer is no answer.
ANSWER_BYTES_MAX = 64 << 20


class Extenders:
    def __init__(self, extenders: Sequence[Extender]) -> None:
        self._extenders = list(extenders)
        self._session: aiohttp.ClientSession | None = None
        self._contexts: dict[str, ssl.SSLContext] = {}

    def __bool__(self) -> bool:
        return bool(self._extenders)

    async def stop(self) -> None:
        if self._session is not None:
            await self._session.close()

    async def advise(self, pod: Object, nodes: Mapping[str, Object]) -> Advice:
        """About a pod and the nodes where it fits. Never raises: a failure is in the answer."""
        refusals: dict[str, Status] = {}
        left = dict(nodes)
        interested = [extender for extender in self._extenders if extender.is_interested(pod)]
        for extender in interested:
            if not extender.filter_verb or not left:
                continue
            try:
                answer = await self._ask(extender, extender.filter_verb, extender.question(pod, list(left.values())))
                refused = extender.read_filtered(answer, list(left))
            except ExtenderError as error:
                if extender.is_ignorable:
                    log.warning("skipping extender %s, which is ignorable: %s", extender.url_prefix, error)
                    continue
                return Advice(error=f"running extender {extender.url_prefix}: {error}")
            refusals.update(refused)
            left = {name: node for name, node in left.items() if name not in refused}
        scores: dict[str, int] = {}
        if len(left) > 1:
            asked = [extender for extender in interested if extender.prioritize_verb]
            for each in await asyncio.gather(*(self._priorities(extender, pod, left) for extender in asked)):
                for name, score in each.items():
                    scores[name] = scores.get(name, 0) + score
        return Advice(refusals, scores)

    async def _priorities(self, extender: Extender, pod: Object, nodes: Mapping[str, Object]) -> dict[str, int]:
        """One that fails has no preference."""
        try:
            question = extender.question(pod, list(nodes.values()))
            return extender.read_priorities(await self._ask(extender, extender.prioritize_verb, question))
        except ExtenderError as error:
            log.warning("extender %s is left out of the scores: %s", extender.url_prefix, error)
            return {}

    async def review(
        self, pod: Object, victims: Mapping[str, Sequence[Object]], violations: Mapping[str, int]
    ) -> Review:
        """About the nodes where room could be made by evicting pods. Never raises: a failure is in the answer."""
        pods = {uid_of(each): each for each in itertools.chain.from_iterable(victims.values())}
        left: Mapping[str, Sequence[str]] = {name: [uid_of(each) for each in each_] for name, each_ in victims.items()}
        counts = violations
        for extender in self._extenders:
            if not extender.preempt_verb or not extender.is_interested(pod) or not left:
                continue
            whole = {name: [pods[uid] for uid in uids if uid in pods] for name, uids in left.items()}
            try:
                answer = await self._ask(extender, extender.preempt_verb, extender.victims_question(pod, whole, counts))
                left, counts = extender.read_victims(answer)
            except ExtenderError as error:
                if extender.is_ignorable:
                    log.warning("skipping extender %s, which is ignorable: %s", extender.url_prefix, error)
                    continue
                return Review(error=f"running extender {extender.url_prefix}: {error}")
        return Review(left, counts)

    def binder(self, pod: Object) -> Extender | None:
        """The extender that binds the pod in our place."""
        return next((e for e in self._extenders if e.bind_verb and e.is_interested(pod)), None)

    async def bind(self, extender: Extender, pod: Object, node_name: str) -> Status | None:
        try:
            message = extender.read_bound(
                await self._ask(extender, extender.bind_verb, extender.binding(pod, node_name))
            )
        except ExtenderError as error:
            message = str(error)
        return Status(Code.ERROR, (f"extender {extender.url_prefix}: {message}",)) if message else None

    async def _ask(self, extender: Extender, verb: str, question: Mapping[str, Any]) -> Any:
        """Raises ExtenderError for whatever goes wrong."""
        import aiohttp  # late: few clusters have extenders

        if self._session is None:
            self._session = aiohttp.ClientSession(trust_env=False)
        url = f"{extender.url_prefix}/{verb}"
        try:
            async with self._session.post(
                url,
                data=orjson.dumps(question),
                headers={"Content-Type": "application/json"},
                timeout=aiohttp.ClientTimeout(total=extender.timeout_s),
                ssl=self._context(extender) if url.startswith("https:") else True,
                allow_redirects=False,
            ) as response:
                if response.status != 200:
                    raise ExtenderError([f"failed {verb} with extender at URL {url}, code {response.status}"])
                body = await response.content.read(ANSWER_BYTES_MAX + 1)
                while not response.content.at_eof() and len(body) <= ANSWER_BYTES_MAX:
                    body += await response.content.read(ANSWER_BYTES_MAX + 1 - len(body))
        except (aiohttp.ClientError, OSError, ValueError) as error:
            text = (
                "no answer within its time" if isinstance(error, TimeoutError) else f"{error or type(error).__name__}"
            )
            raise ExtenderError([f"{url}: {text}"]) from error
        except TimeoutError as error:
            raise ExtenderError([f"{url}: no answer within {extender.timeout_s:g} s"]) from error
        if len(body) > ANSWER_BYTES_MAX:
            raise ExtenderError([f"{url}: an answer of more than {ANSWER_BYTES_MAX} bytes"])
        try:
            return orjson.loads(body)
        except orjson.JSONDecodeError as error:
            raise ExtenderError([f"{url}: the answer is no JSON: {error}"]) from error

    def _context(self, extender: Extender) -> ssl.SSLContext:
        """Raises OSError (also for certificates that cannot be read)."""
        known = self._contexts.get(extender.url_prefix)
        if known is not None:
            return known
        tls = extender.tls
        authority = base64.b64decode(tls["caData"]).decode() if tls.get("caData") else None
        context = ssl.create_default_context(cafile=tls.get("caFile") or None, cadata=authority)
        if tls.get("insecure"):
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        if tls.get("certData") and tls.get("keyData"):
            with tempfile.NamedTemporaryFile() as file:  # the ssl module takes files only; mode 600
                file.write(base64.b64decode(tls["certData"]) + b"\n" + base64.b64decode(tls["keyData"]))
                file.flush()
                context.load_cert_chain(file.name)
        elif tls.get("certFile"):
            context.load_cert_chain(tls["certFile"], tls.get("keyFile") or None)
        self._contexts[extender.url_prefix] = context
        return context
