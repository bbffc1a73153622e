"""Addresses of pages and mailboxes, as people say them: example dot com slash a."""

from __future__ import annotations

import re

from dsm_mlx.tts.text.grammar import Grammar

_DOMAINS = (
    "com org net edu gov int info biz name io ai dev app me tv xyz tech blog cloud site online "
    "shop co us uk fr de eu ch be ca lu at nl es it pt pl se no dk fi ie au nz jp cn in br"
)
_HOST = r"(?:[A-Za-z0-9](?:[A-Za-z0-9-]{0,62})\.)+"
_TOP = _DOMAINS.replace(" ", "|")
_PAGE = re.compile(
    rf"(?P<scheme>(?:https?|ftp)://)?(?P<host>{_HOST}[A-Za-z]{{2,24}}|localhost|[\w.-]+(?=:\d))"
    r"(?P<port>:\d{1,5})?(?P<path>/[^?#]*)?(?:[?#].*)?",
    re.IGNORECASE,
)
_BARE = re.compile(rf"(?:www\.{_HOST}[A-Za-z]{{2,24}}|{_HOST}(?:{_TOP}))(?![\w.]).*")
_MAIL = re.compile(rf"(?:mailto:)?([\w.+-]{{1,64}})@({_HOST}[A-Za-z]{{2,24}})", re.IGNORECASE)
_LONGEST_PATH = 60
_PIECES = re.compile(r"[^\W\d_]+|[0-9]+|[._~/:+=&%@-]")


def said_address(core: str, grammar: Grammar, numbers: bool) -> str | None:
    """What is said for a word that is an address; None for others.

    The scheme, `www.` and what follows ? or # are not said, nor a path of more than 60
    characters. Without a scheme only well-known domains count, in small letters.

    numbers: figures become words.
    """
    if mail := _MAIL.fullmatch(core):
        name, host = (_spelled(part, grammar, numbers) for part in mail.groups())
        return f"{name} {grammar.at} {host}"
    page = _PAGE.fullmatch(core)
    if not page or not (page["scheme"] or _BARE.fullmatch(core)):
        return None
    host = page["host"]
    if host.lower().startswith("www."):
        host = host[4:]
    path = (page["path"] or "").rstrip("/")
    if len(path) > _LONGEST_PATH:
        path = ""
    return _spelled(host + (page["port"] or "") + path, grammar, numbers)


def _spelled(text: str, grammar: Grammar, numbers: bool) -> str:
    names = {
        ".": grammar.dot,
        "/": grammar.slash,
        "-": grammar.dash,
        "_": grammar.underscore,
        "~": "tilde",
        "+": "plus",
        "@": grammar.at,
        ":": "",
    }
    said = []
    for piece in _PIECES.findall(text):
        if piece in names:
            said.append(names[piece])
        elif piece.isdecimal() and numbers:
            said.append(grammar.whole(piece) if len(piece) <= 4 else grammar.digits(piece))
        elif piece.isalnum():
            said.append(piece)
    return " ".join(filter(None, said))
