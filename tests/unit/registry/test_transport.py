"""Ways to a registry."""

from __future__ import annotations

import pytest
from yarl import URL

from pycontainerd.registry.transport import proxy, shown


@pytest.fixture(autouse=True)
def environment(monkeypatch):
    for name in ("http_proxy", "HTTP_PROXY", "HTTPS_PROXY", "all_proxy", "ALL_PROXY", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("https_proxy", "http://proxy.test:3128")
    monkeypatch.setenv("no_proxy", "direct.test")


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("https://r.test/v2/", "http://proxy.test:3128"),
        ("http://r.test/v2/", None),
        ("https://direct.test/v2/", None),
        ("https://sub.direct.test:5000/v2/", None),
        ("https://localhost:5000/v2/", None),
        ("https://127.0.0.1:5000/v2/", None),
        ("https://[::1]:5000/v2/", None),
    ],
)
def test_the_environment_names_the_proxy_and_this_machine_needs_none(url, expected):
    assert proxy(URL(url)) == expected


def test_a_url_is_shown_without_user_and_query():
    assert shown("https://user:pw@r.test:5000/v2/a?sig=secret#x") == "https://r.test:5000/v2/a"
