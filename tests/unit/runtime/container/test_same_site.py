"""Pages of other sites: told by their origin, or by a host that is not this machine's; other clients never are."""

from __future__ import annotations

import pytest

from runtime.container.same_site import KEPT, SameSite, is_loopback
from runtime.errors import CrossSite

LOCAL = SameSite("127.0.0.1", "127.0.0.1")
OPEN = SameSite("0.0.0.0", "0.0.0.0")


@pytest.mark.parametrize("site", [LOCAL, OPEN], ids=["loopback", "open"])
@pytest.mark.parametrize(
    "headers",
    [
        {},
        {b"host": b""},
        {b"host": b"localhost:8080"},
        {b"host": b"LOCALHOST"},
        {b"host": b"localhost.:80"},
        {b"host": b"models.localhost:8080"},
        {b"host": b"127.0.0.1"},
        {b"host": b"127.8.9.1:8080"},
        {b"host": b"[::1]:8080"},
        {b"host": b"localhost:8080", b"origin": b"http://localhost:8080"},
        {b"host": b"localhost", b"origin": b"https://LocalHost"},
    ],
)
def test_clients_and_pages_of_its_own_are_let_in(site: SameSite, headers: dict[bytes, bytes]) -> None:
    for _ in range(2):  # the second time it is remembered
        site.check(headers)


@pytest.mark.parametrize("site", [LOCAL, OPEN], ids=["loopback", "open"])
@pytest.mark.parametrize("origin", [b"http://evil.example", b"http://localhost:3000", b"null", b"", b"localhost:8080"])
def test_pages_of_other_sites_are_not(site: SameSite, origin: bytes) -> None:
    with pytest.raises(CrossSite, match="other sites are not answered"):
        site.check({b"host": b"localhost:8080", b"origin": origin})
    with pytest.raises(CrossSite, match="asks nobody"):
        site.check({b"origin": origin})


@pytest.mark.parametrize(
    "host", [b"evil.example", b"evil.example:8080", b"127.0.0.1.evil.example", b"10.0.0.7", b"[::2]", b"x\0", b"\xff"]
)
def test_another_name_for_this_machine_is_not_answered_on_loopback(host: bytes) -> None:
    with pytest.raises(CrossSite, match="is no name of this machine"):
        LOCAL.check({b"host": host})
    OPEN.check({b"host": host})


def test_the_name_that_it_was_told_to_listen_under_is_one() -> None:
    SameSite("Build-Box", "127.0.1.1").check({b"host": b"build-box:8080"})


def test_no_more_hosts_are_remembered_than_so() -> None:
    site = SameSite("127.0.0.1", "127.0.0.1")
    for port in range(2 * KEPT):
        site.check({b"host": b"localhost:%d" % port})
    assert len(site._known) == KEPT


@pytest.mark.parametrize(
    ("name", "local"),
    [("localhost", True), ("127.0.0.1", True), ("::1", True), ("0.0.0.0", False), ("::", False), ("127.1", False)],
)
def test_loopback(name: str, local: bool) -> None:
    assert is_loopback(name) is local
