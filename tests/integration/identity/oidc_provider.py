"""A real OpenID Connect provider in a process of its own, and the member's browser at it."""

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from urllib.parse import parse_qs, urlsplit

import httpx

from tieline.embedded.ports import find_free_port

REDIRECT_URI = "https://app.example.org/back"

USERS = (
    {"sub": "s-1", "email": "Li.Wei@example.org", "preferred_username": "Li.Wei"},
    {"sub": "s-2", "email": "li.wei@example.org", "email_verified": False},
    {"sub": "s-3", "email": "stranger@example.org", "preferred_username": "stranger"},
    {"sub": "s-boss", "email": "boss@example.org", "preferred_username": "boss"},
)


@dataclass(frozen=True)
class OidcProvider:
    """Where the provider is."""

    issuer: str

    async def visit(self, authorization_url: str, subject: str) -> tuple[str, str]:
        """Sign in at the provider; return state and code of the redirect."""
        async with httpx.AsyncClient(timeout=10, trust_env=False) as browser:
            response = await browser.post(authorization_url, data={"sub": subject})
        assert response.status_code == 302, response.text
        location = response.headers["location"]
        assert location.startswith(REDIRECT_URI)
        answer = parse_qs(urlsplit(location).query)
        return answer["state"][0], answer["code"][0]


@contextmanager
def running_provider() -> Iterator[OidcProvider]:
    """Run the provider on loopback within the block."""
    port = find_free_port()
    arguments = [option for user in USERS for option in ("--user-claims", json.dumps(user))]
    process = subprocess.Popen(
        [
            sys.executable,
            "-W",
            "ignore",
            "-m",
            "oidc_provider_mock",
            "--port",
            str(port),
            *arguments,
        ],
        env={**os.environ, "PYTHONWARNINGS": "ignore"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        yield OidcProvider(f"http://127.0.0.1:{port}")
    finally:
        process.terminate()
        process.wait(10)


async def wait_for(provider: OidcProvider) -> None:
    """Return once the provider answers."""
    async with httpx.AsyncClient(trust_env=False) as client:
        for _ in range(1000):
            try:
                await client.get(f"{provider.issuer}/.well-known/openid-configuration")
            except httpx.TransportError:
                await asyncio.sleep(0.02)
            else:
                return
    raise AssertionError("the provider never answered")
