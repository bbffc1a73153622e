"""Tags in a text: what is one, what only looks like one, and how long a break is.

A tag is what XML would take for one, of at most `LONGEST` characters: `<name>`, `</name>`,
`<name/>`, with attributes `key=value`, or a comment. Anything else is prose, such as `a<b and
c>d`, `<bob@example.com>`, `<3` and `<-`; so is a bare `<Name>` right after a word, as in
`List<String>`. What begins with `<break ` is always meant as a tag.
"""

from __future__ import annotations

import re

LONGEST = 200
_LONGEST_BREAK = 3600.0

_NAME = "[A-Za-z][A-Za-z0-9:_-]*"
_KEY = "[A-Za-z_:][A-Za-z0-9._:-]*"
_VALUE = r"""(?:"[^"<]*"|'[^'<]*'|[^\s"'`=<>]+)"""
_VALUE_SO_FAR = r"""(?:"[^"<]*"?|'[^'<]*'?|[^\s"'`=<>]*)"""
_OPEN = rf"<{_NAME}(?:\s+{_KEY}\s*=\s*{_VALUE})*"
_TAG = re.compile(
    rf"{_OPEN}\s*/?>|</{_NAME}\s*>|<break[\s/][^<>]*>|<!--[^<]*-->|<[!?]{_NAME}[^<>]*>"
)
_TAG_SO_FAR = re.compile(
    rf"<|{_OPEN}(?:\s*/|\s+(?:{_KEY}\s*(?:=\s*{_VALUE_SO_FAR})?)?)?|</(?:{_NAME}\s*)?"
    rf"|<break[\s/][^<>]*|<!-?|<!--[^<]*|<[!?](?:{_NAME}[^<>]*)?"
)
_BARE = re.compile(rf"<(?!break\s*>){_NAME}\s*>")
_BREAK_SO_FAR = re.compile(r"<break(?![\w:-])")
_BREAK = re.compile(r"""<break\s+time=(["'])(\d+(?:\.\d*)?)(ms|s)\1\s*/?>""")


def is_tag(text: str, after_word: bool) -> bool:
    """Whether `text`, from its "<" to its end, is a tag; `after_word`: it follows a letter."""
    return bool(_TAG.fullmatch(text)) and not (after_word and _BARE.fullmatch(text))


def may_become_tag(text: str) -> bool:
    """Whether `text`, which is no tag yet, is one as far as it has come."""
    return len(text) < LONGEST and bool(_TAG_SO_FAR.fullmatch(text))


def is_unclosed_break(text: str) -> bool:
    """Whether a text that ends with `text` ends inside a break."""
    return bool(_BREAK_SO_FAR.match(text)) and may_become_tag(text)


def break_steps(tag: str, frame_rate: float) -> int:
    """The length in steps of a tag such as `<break time="500ms"/>` or `<break time="0.5s"/>`.

    Raises:
        ValueError: it is any other tag (named in the message), or a break of more than an hour.
    """
    match = _BREAK.fullmatch(tag)
    if match is None:
        raise ValueError(f"unknown tag {tag}")
    seconds = float(match[2]) / (1000.0 if match[3] == "ms" else 1.0)
    if seconds > _LONGEST_BREAK:
        raise ValueError(f"{tag} is longer than an hour")
    return round(seconds * frame_rate)


def is_break(tag: str) -> bool:
    """Whether a tag is a break whose length can be understood."""
    try:
        break_steps(tag, 1.0)
    except ValueError:
        return False
    return True
