"""The body of a request as text and as JSON.

Interpreted in the compiled build, too: mypyc drops the `from` of a `raise`, and the cause is what a
handler's log needs.
"""

import re
from typing import Any, Final

import msgspec

from pipebus.errors import BadRequestBody

_CHARSET: Final = re.compile(r';[ \t]*charset="?([^\s;"]+)', re.IGNORECASE)
CHARSETS: Final = frozenset(
    [
        "ascii",
        "us-ascii",
        "utf-8",
        "utf8",
        "utf-16",
        "utf-16be",
        "utf-16le",
        "latin1",
        "iso-8859-1",
        "iso-8859-2",
        "iso-8859-3",
        "iso-8859-4",
        "iso-8859-5",
        "iso-8859-6",
        "iso-8859-7",
        "iso-8859-8",
        "iso-8859-9",
        "iso-8859-10",
        "iso-8859-13",
        "iso-8859-14",
        "iso-8859-15",
        "iso-8859-16",
        "windows-1250",
        "windows-1251",
        "windows-1252",
        "windows-1253",
        "windows-1254",
        "windows-1255",
        "windows-1256",
        "windows-1257",
        "windows-1258",
        "koi8-r",
        "koi8-u",
        "shift_jis",
        "euc-jp",
        "iso-2022-jp",
        "euc-kr",
        "gb2312",
        "gbk",
        "gb18030",
        "big5",
    ]
)
"""What `decode_text` takes. Not what `bytes.decode` knows: that takes codecs that are no charsets
(`idna` costs the square of its input) and remembers every unknown name that a client makes up."""


def decode_text(body: bytes, content_type: str) -> str:
    """Decode by the charset that a Content-Type names, UTF-8 by default.

    Raises `BadRequestBody` for bytes that are no such text and for a charset that is not known.
    """
    charset = "utf-8"
    found = _CHARSET.search(content_type)
    if found is not None:
        charset = found.group(1).lower()
        if charset not in CHARSETS:
            raise BadRequestBody("the charset of the body is not known")
    try:
        return body.decode(charset)
    except UnicodeDecodeError as error:
        raise BadRequestBody("the body is not text in its charset") from error


def decode_json(body: bytes, type: Any) -> Any:  # noqa: A002 (msgspec's name for it)
    """Decode JSON into a `type` that msgspec knows; raises `BadRequestBody` if it is not that."""
    try:
        return msgspec.json.decode(body, type=type)
    except msgspec.ValidationError as error:
        raise BadRequestBody("the body does not have the expected shape") from error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise BadRequestBody("the body is not valid JSON") from error
