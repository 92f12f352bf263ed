import orjson
import pytest

from cybernetes.core.api import jsonreader
from cybernetes.core.api.jsonreader import MalformedJson, Repeated


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"", "unexpected end of JSON input"),
        (b"   ", "unexpected end of JSON input"),
        (b'{"a":', "unexpected end of JSON input"),
        (b'{"a":}', "invalid character '}' looking for beginning of value"),
        (b"{x", "invalid character 'x' looking for beginning of object key string"),
        (b'{"a" 1}', "invalid character '1' after object key"),
        (b'{"a":1 "b":2}', "invalid character '\"' after object key:value pair"),
        (b'{"a":1,}', "invalid character '}' looking for beginning of object key string"),
        (b"[1 2]", "invalid character '2' after array element"),
        (b"[1,]", "invalid character ']' looking for beginning of value"),
        (b"{} x", "invalid character 'x' after top-level value"),
        (b'"a\nb"', "invalid character '\\n' in string literal"),
        (b'"\\x"', "invalid character 'x' in string escape code"),
        (b'"\\u12g4"', "invalid character 'g' in \\u hexadecimal character escape"),
        (b"tru", "unexpected end of JSON input"),
        (b"trux", "invalid character 'x' in literal true (expecting 'e')"),
        (b"01", "invalid character '1' after top-level value"),
        (b"-x", "invalid character 'x' in numeric literal"),
        (b"1.x", "invalid character 'x' after decimal point in numeric literal"),
        (b"1ex", "invalid character 'x' in exponent of numeric literal"),
        (b"[" * 2000 + b"]" * 2000, "exceeded max depth"),
    ],
)
def test_what_is_no_json(text, message):
    with pytest.raises(MalformedJson) as refused:
        jsonreader.read(text)
    assert str(refused.value) == message


@pytest.mark.parametrize(
    ("text", "value"),
    [
        (b'{"a": [1, 2.5, true, null, "x"]}', {"a": [1, 2.5, True, None, "x"]}),
        (b'{"a": "\\ud800"}', {"a": "\ufffd"}),
        (b'"\\ud83d\\ude00"', "\U0001f600"),
        (b'"a\xff"', "a\ufffd"),
    ],
)
def test_what_go_reads_and_the_fast_reader_does_not(text, value):
    assert jsonreader.read(text) == value


def test_repeated_fields_are_kept():
    found = jsonreader.read_repeated(b'{"a": 1, "b": {"c": 1, "c": 2}, "a": 3}')
    assert isinstance(found, Repeated)
    assert found.pairs == [("a", 1), ("b", {"c": 2}), ("a", 3)]
    assert found == {"a": 3, "b": {"c": 2}}
    assert isinstance(found["b"], Repeated)
    assert not isinstance(jsonreader.read_repeated(b'{"a": 1}'), Repeated)
    assert orjson.loads(orjson.dumps(found)) == {"a": 3, "b": {"c": 2}}
