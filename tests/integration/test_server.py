"""The server over real sockets: where it may listen, and how it stops."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import socket
from pathlib import Path

import httpx
import pytest

from gateway.auth import key_digest
from gateway.server import serve
from gateway.settings import Settings
from registry.errors import InvalidValue


async def start(settings: Settings) -> tuple[str, asyncio.Task[None]]:
    url: asyncio.Future[str] = asyncio.get_running_loop().create_future()
    server = asyncio.create_task(serve(settings, ready=url.set_result))
    await asyncio.wait({url, server}, timeout=30, return_when=asyncio.FIRST_COMPLETED)
    if server.done():
        await server
    return url.result(), server


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_serves_an_empty_home_until_it_is_told_to_stop(tmp_path: Path, number: int) -> None:
    url, server = await start(Settings(home=tmp_path, port=0))
    async with httpx.AsyncClient(base_url=url) as http:
        assert (await http.get("/healthz")).json() == {"status": "ok"}
        assert (await http.get("/v1/tasks")).json() == {"tasks": []}
        os.kill(os.getpid(), number)
        async with asyncio.timeout(30):
            await server
    assert (tmp_path / "catalogue.db").exists()


async def test_without_keys_it_listens_on_loopback_only(tmp_path: Path) -> None:
    with pytest.raises(InvalidValue, match="no API keys are configured"):
        await serve(Settings(home=tmp_path / "home", host="0.0.0.0", port=0))
    assert not (tmp_path / "home").exists()


async def test_with_keys_it_listens_anywhere(tmp_path: Path) -> None:
    keys = tmp_path / "keys.yaml"
    keys.write_text(f"keys: [{{name: alice, tenant: acme, sha256: {key_digest('k')}}}]")
    url, server = await start(Settings(home=tmp_path, host="0.0.0.0", port=0, keys_file=keys))
    async with httpx.AsyncClient(base_url=url.replace("0.0.0.0", "127.0.0.1")) as http:
        assert (await http.get("/v1/tasks")).status_code == 401
        assert (await http.get("/v1/tasks", headers={"X-API-Key": "k"})).status_code == 200
    os.kill(os.getpid(), signal.SIGTERM)
    async with asyncio.timeout(30):
        await server


async def test_a_port_that_is_taken_is_named_before_anything_is_opened(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(InvalidValue, match=f"port: cannot listen on 127.0.0.1:{port}: Address already in use"):
            await serve(Settings(home=tmp_path / "home", port=port))
    assert not (tmp_path / "home").exists()


async def test_what_the_server_itself_logs_goes_where_the_rest_goes(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    _, server = await start(Settings(home=tmp_path, port=0))
    logging.getLogger("uvicorn.error").error("a fault")
    os.kill(os.getpid(), signal.SIGTERM)
    async with asyncio.timeout(30):
        await server
    assert "a fault" in caplog.text
