"""Asking for a bearer token."""

from __future__ import annotations

from urllib.parse import parse_qs, urlsplit

import pytest

from pycontainerd.contracts.errors import InvalidArgument, Unauthenticated
from pycontainerd.registry.challenge import Challenge
from pycontainerd.registry.tokens import Credentials, answer, requests, scope

CHALLENGE = Challenge("bearer", {"realm": "https://auth.test/token?x=1", "service": "reg"})
SCOPES = [scope("a/b"), scope("c", push=True)]


def test_without_credentials_it_is_a_get_with_service_and_scopes():
    (one,) = requests(CHALLENGE, SCOPES, None)
    assert (one.method, one.form, one.authorization) == ("GET", None, "")
    assert parse_qs(urlsplit(one.url).query) == {
        "x": ["1"],
        "service": ["reg"],
        "scope": ["repository:a/b:pull", "repository:c:pull,push"],
    }


def test_a_password_is_posted_and_then_offered_by_basic_authentication():
    first, second = requests(CHALLENGE, SCOPES, Credentials("u", "p"))
    assert first.method == "POST"
    assert first.form == {
        "service": "reg",
        "client_id": "containerd-client",
        "scope": " ".join(SCOPES),
        "grant_type": "password",
        "username": "u",
        "password": "p",
    }
    assert (second.method, second.authorization) == ("GET", "Basic dTpw")


def test_a_secret_without_a_user_is_a_refresh_token():
    (one,) = requests(CHALLENGE, [], Credentials("", "r"))
    assert one.form is not None
    assert (one.form["grant_type"], one.form["refresh_token"]) == ("refresh_token", "r")


@pytest.mark.parametrize("realm", ["", "/token", "file:///etc/passwd", "ftp://x/y", "https://"])
def test_a_realm_that_is_no_http_url_is_refused(realm):
    with pytest.raises(InvalidArgument, match="not an HTTP URL"):
        requests(Challenge("bearer", {"realm": realm}), [], None)


def test_secrets_are_not_shown():
    credentials = Credentials("user", "hunter2")
    shown = repr([credentials, *requests(CHALLENGE, SCOPES, credentials), answer(b'{"token": "hunter2"}', 0)])
    assert "hunter2" not in shown
    assert credentials.basic not in shown


@pytest.mark.parametrize(("body", "life"), [(b'{"token":"t"}', 54), (b'{"access_token":"t","expires_in":300}', 270)])
def test_a_token_lives_as_long_as_the_server_says(body, life):
    token = answer(body, 0)
    assert (token.value, token.expires) == ("t", life)


@pytest.mark.parametrize("body", [b"", b"{}", b"[]", b"null", b'{"token": 5}', b'{"token": "a\\nb"}', b"[" * 100000])
def test_an_answer_without_a_token_is_an_error(body):
    with pytest.raises(Unauthenticated):
        answer(body)
