"""Links in what is proxied: those that begin at the root of their server lead through the proxy again.

    <a href="/next">  from a pod p, proxied  ──▶  <a href="/api/v1/namespaces/z/pods/p/proxy/next">

Relative links work as they are, those to other hosts are nobody's business. ``Location`` headers follow the same rule.
Upstream: apimachinery/pkg/util/proxy/transport.go.
"""

from __future__ import annotations

import html
import posixpath
import re
from urllib.parse import urlsplit, urlunsplit

#: Where HTML elements have URLs.
_ATTRIBUTES: dict[str, frozenset[str]] = {
    element: frozenset(attributes.split())
    for element, attributes in {
        "a": "href", "applet": "codebase", "area": "href", "audio": "src", "base": "href", "blockquote": "cite",
        "body": "background", "button": "formaction", "command": "icon", "del": "cite", "embed": "src",
        "form": "action", "frame": "longdesc src", "head": "profile", "html": "manifest", "iframe": "longdesc src",
        "img": "longdesc src usemap", "input": "src usemap formaction", "ins": "cite", "link": "href",
        "object": "classid codebase data usemap", "q": "cite", "script": "src", "source": "src", "video": "poster src",
    }.items()
}  # fmt: skip

#: A comment, or an element's start.
_TOKEN = re.compile(
    r"""<!--.*?(?:-->|\Z) | <(?P<name>[a-zA-Z][^\s/>]*)(?:[^>"']|"[^"]*"|'[^']*')*>""", re.DOTALL | re.VERBOSE
)
#: Within these ``<`` means nothing until they end.
_RAW_END = {name: re.compile(rf"</{name}[\s/>]", re.IGNORECASE) for name in ("script", "style", "textarea", "title")}
_ATTRIBUTE = re.compile(r"""(?P<name>[^\s"'>/=]+)(?P<equals>\s*=\s*)(?P<value>"[^"]*"|'[^']*'|[^\s"'>]+)""")


class Links:
    """``prefix``: the path of the proxy itself, without the part that is proxied. ``hosts``: as whom the proxied
    server may name itself in a URL: its address, and what the client called the API server."""

    def __init__(self, prefix: str, hosts: tuple[str, ...]) -> None:
        self._prefix = prefix.rstrip("/")
        self._hosts = hosts

    def rewrite(self, link: str) -> str:
        """The link as it works for the client. What is no URL stays as it is."""
        try:
            parts = urlsplit(link)
        except ValueError:
            return link
        if not parts.path.startswith("/") or (parts.netloc and parts.netloc not in self._hosts):
            return link
        path = parts.path
        if not path.startswith(self._prefix):
            path = posixpath.normpath(self._prefix + path) + ("/" if path.endswith("/") else "")
        return urlunsplit(("", "", path, parts.query, parts.fragment))

    def in_html(self, text: str) -> str:
        """A page with every link rewritten, and nothing else changed."""
        pieces: list[str] = []
        at = 0
        while match := _TOKEN.search(text, at):
            pieces.append(text[at : match.start()])
            at = match.end()
            name = (match["name"] or "").lower()
            pieces.append(self._in_tag(name, match[0]) if name in _ATTRIBUTES else match[0])
            end = _RAW_END[name].search(text, at) if name in _RAW_END else None
            if end is not None:
                pieces.append(text[at : end.start()])
                at = end.start()
        pieces.append(text[at:])
        return "".join(pieces)

    def _in_tag(self, element: str, tag: str) -> str:
        wanted = _ATTRIBUTES[element]

        def changed(match: re.Match[str]) -> str:
            if match["name"].lower() not in wanted:
                return match[0]
            value = match["value"]
            link = html.unescape(value[1:-1] if value[0] in "\"'" else value)
            rewritten = self.rewrite(link)
            return match[0] if rewritten == link else f'{match["name"]}{match["equals"]}"{html.escape(rewritten)}"'

        return _ATTRIBUTE.sub(changed, tag)
