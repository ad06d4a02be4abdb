"""Asking an authorization server for a bearer token: requests and answers as data. Pure.

Defined by distribution's docs/spec/auth (token.md: GET; oauth.md: POST).
"""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Mapping, Sequence
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

import attrs

from pycontainerd.contracts.errors import InvalidArgument, Unauthenticated

from .challenge import Challenge

CLIENT_ID = "containerd-client"
MAX_ANSWER = 1 << 20  # bytes
_MIN_LIFE = 60.0  # seconds; the specification's default where the server says nothing
_MAX_LIFE = 24 * 3600.0
_HAS_NO_POST = (400, 401, 404, 405)


@attrs.frozen
class Credentials:
    """A user with a password, a refresh token (``user`` is empty), or a ready ``header``. Never shown."""

    user: str = ""
    secret: str = attrs.field(default="", repr=False)
    header: str = attrs.field(default="", repr=False)

    @property
    def basic(self) -> str:
        """The ``Authorization`` header of basic authentication."""
        return "Basic " + base64.b64encode(f"{self.user}:{self.secret}".encode()).decode()


@attrs.frozen
class TokenRequest:
    """One HTTP request to an authorization server."""

    method: str
    url: str
    authorization: str = attrs.field(default="", repr=False)
    form: Mapping[str, str] | None = attrs.field(default=None, repr=False)


@attrs.frozen
class Token:
    """A bearer token; ``expires`` is on the monotonic clock."""

    value: str = attrs.field(repr=False)
    expires: float


def requests(challenge: Challenge, scopes: Sequence[str], credentials: Credentials | None) -> list[TokenRequest]:
    """What to send, in order: a later one is for servers that refuse the earlier (see `try_next`).

    :raises InvalidArgument: the challenge has no realm that is an HTTP URL.
    """
    realm = challenge.parameters.get("realm", "")
    parts = urlsplit(realm)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise InvalidArgument(f"the registry asks for a token of {realm[:200]!r}, which is not an HTTP URL")
    service = challenge.parameters.get("service", "")
    query = parse_qsl(parts.query, keep_blank_values=True)
    query += ([("service", service)] if service else []) + [("scope", scope) for scope in scopes]
    url = urlunsplit(parts._replace(query=urlencode(query), fragment=""))
    if credentials is None or not credentials.secret:
        return [TokenRequest("GET", url)]
    form = {"service": service, "client_id": CLIENT_ID}
    if scopes:
        form["scope"] = " ".join(scopes)
    if not credentials.user:
        form |= {"grant_type": "refresh_token", "refresh_token": credentials.secret}
        return [TokenRequest("POST", realm, form=form)]
    form |= {"grant_type": "password", "username": credentials.user, "password": credentials.secret}
    return [TokenRequest("POST", realm, form=form), TokenRequest("GET", url, credentials.basic)]


def try_next(status: int) -> bool:
    """Whether an answer to POST means that the server knows only GET."""
    return status in _HAS_NO_POST


def answer(body: bytes, now: float | None = None) -> Token:
    """The token in a server's answer.

    :raises Unauthenticated: there is none.
    """
    try:
        value = json.loads(body)
        token = value.get("token") or value.get("access_token")
        life = value.get("expires_in")
    except (ValueError, AttributeError, RecursionError):
        token, life = None, None
    if not isinstance(token, str) or not token or not token.isprintable():
        raise Unauthenticated("the authorization server's answer has no token in it")
    seconds = float(life) if isinstance(life, (int, float)) and not isinstance(life, bool) else 0.0
    seconds = min(max(seconds, _MIN_LIFE), _MAX_LIFE)
    return Token(token, (time.monotonic() if now is None else now) + seconds * 0.9)


def scope(path: str, *, push: bool = False) -> str:
    """The scope for a repository."""
    return f"repository:{path}:pull,push" if push else f"repository:{path}:pull"
