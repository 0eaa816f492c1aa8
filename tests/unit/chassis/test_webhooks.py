"""What is posted to webhooks: signed, to safe addresses alone."""

import pytest

from tieline.chassis.webhooks import WebhookError, is_webhook_url, sign


def test_signature_is_of_time_and_body() -> None:
    # printf '1700000000.{}' | openssl dgst -sha256 -hmac key
    assert sign(b"key", 1_700_000_000, b"{}") == (
        "t=1700000000,v1=9d713ed406bb7076d4123f0dc2c39d2df5c654ed4b0cd56b52c8b4c940bd63ae"
    )


@pytest.mark.parametrize(
    ("url", "is_safe"),
    [
        ("https://push.example.org/tieline", True),
        ("http://127.0.0.1:8080/", True),
        ("http://[::1]/", True),
        ("http://localhost/", True),
        ("http://push.example.org/", False),
        ("http://127.0.0.1.example.org/", False),
        ("ftp://127.0.0.1/", False),
        ("https://", False),
        ("https://[::1", False),
        ("push.example.org", False),
        ("", False),
    ],
)
def test_safe_addresses(url: str, is_safe: bool) -> None:
    assert is_webhook_url(url) is is_safe


@pytest.mark.parametrize(
    ("status", "is_final"),
    [
        (0, False),
        (302, False),
        (399, False),
        (400, True),
        (401, True),
        (408, False),
        (410, True),
        (425, False),
        (429, False),
        (499, True),
        (500, False),
        (503, False),
    ],
)
def test_which_answers_end_it(status: int, is_final: bool) -> None:
    assert WebhookError("no", status=status).is_final is is_final
