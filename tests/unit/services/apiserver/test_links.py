"""Links in pages that are proxied."""

import pytest

from cybernetes.services.apiserver.subresources.links import Links

PREFIX = "/api/v1/namespaces/z/pods/p/proxy"


@pytest.fixture
def links() -> Links:
    return Links(PREFIX + "/", ("10.0.0.7", "10.0.0.7:8080", "localhost:8001"))


@pytest.mark.parametrize(
    ("link", "expected"),
    [
        ("/", f"{PREFIX}/"),
        ("/a/b/?c=d#e", f"{PREFIX}/a/b/?c=d#e"),
        ("/a/../b", f"{PREFIX}/b"),
        ("http://10.0.0.7:8080/a", f"{PREFIX}/a"),
        ("http://localhost:8001/a", f"{PREFIX}/a"),
        (f"{PREFIX}/a", f"{PREFIX}/a"),
        ("a/b", "a/b"),
        ("?x=/y", "?x=/y"),
        ("http://example.com/a", "http://example.com/a"),
        ("//example.com/a", "//example.com/a"),
        ("http://[", "http://["),
        ("mailto:a@b", "mailto:a@b"),
        ("", ""),
    ],
)
def test_links(links: Links, link: str, expected: str) -> None:
    assert links.rewrite(link) == expected


@pytest.mark.parametrize(
    ("page", "expected"),
    [
        ('<a href="/next">test</a>', f'<a href="{PREFIX}/next">test</a>'),
        ("<A class=x HREF = '/n?a=1&amp;b=2'>", f'<A class=x HREF = "{PREFIX}/n?a=1&amp;b=2">'),
        ("<img src=/i.png alt='/no'><hr>", f"<img src=\"{PREFIX}/i.png\" alt='/no'><hr>"),
        ('<!-- <a href="/x"> --><p href="/x">/x</p>', '<!-- <a href="/x"> --><p href="/x">/x</p>'),
        ("<script src='/s.js'>'<a href=\"/x\">'</script>", f'<script src="{PREFIX}/s.js">\'<a href="/x">\'</script>'),
        ('<a title="a > b" href="/x">', f'<a title="a > b" href="{PREFIX}/x">'),
        ("1 < 2 <a href=", "1 < 2 <a href="),
        ("<a href='b'>\udcff", "<a href='b'>\udcff"),
    ],
)
def test_pages(links: Links, page: str, expected: str) -> None:
    assert links.in_html(page) == expected
