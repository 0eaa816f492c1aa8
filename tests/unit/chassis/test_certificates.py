"""What files make a certificate that a server can show."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from fakes.certificates import Authority, Issued, issue, replace_file
from tieline.chassis.certificates import (
    CertificateError,
    CertificateFiles,
    ServerCertificate,
    read_certificate,
)
from tieline.chassis.process import StartError

AUTHORITY = Authority()
NOW = datetime.now(UTC)


def write(folder: Path, issued: Issued, key: bytes | None = None) -> CertificateFiles:
    certificate = replace_file(folder / "tls.crt", issued.pem)
    key_file = replace_file(folder / "tls.key", issued.key if key is None else key)
    return CertificateFiles(str(certificate), str(key_file))


def test_a_certificate_is_good_until_the_second_it_names(tmp_path: Path) -> None:
    issued = AUTHORITY.issue()
    files = write(tmp_path, issued)
    end = issued.certificate.not_valid_after_utc

    assert read_certificate(files, end - timedelta(seconds=1)).not_after == end
    with pytest.raises(CertificateError, match="has expired on"):
        read_certificate(files, end)


@pytest.mark.parametrize(
    ("spoil", "text"),
    [
        (lambda folder: (folder / "tls.key").unlink(), r"tls\.key can't be read"),
        (lambda folder: (folder / "tls.crt").write_text("none"), "holds no certificate in PEM"),
        (lambda folder: (folder / "tls.key").write_text("none"), "no unencrypted private key"),
        (
            lambda folder: (folder / "tls.key").write_bytes(AUTHORITY.issue().key),
            r"tls\.key is not the key of .*tls\.crt",
        ),
    ],
)
def test_files_that_can_not_serve_stop_the_start_with_what_is_wrong(
    tmp_path: Path, spoil: Callable[[Path], object], text: str
) -> None:
    files = write(tmp_path, AUTHORITY.issue())
    spoil(tmp_path)

    with pytest.raises(StartError, match=f"{text}.*TIELINE_GRPC_TLS_CERT_FILE"):
        ServerCertificate(files)


def test_an_authority_of_clients_that_is_none_stops_the_start(tmp_path: Path) -> None:
    files = write(tmp_path, AUTHORITY.issue())

    with pytest.raises(StartError, match="holds no certificate"):
        ServerCertificate(CertificateFiles(files.certificate, files.key, files.key))


def test_unchanged_files_are_not_read_again(tmp_path: Path) -> None:
    certificate = ServerCertificate(write(tmp_path, AUTHORITY.issue()))

    assert certificate.renew() is None


def test_a_half_written_pair_is_passed_over_until_it_is_whole(tmp_path: Path) -> None:
    certificate = ServerCertificate(write(tmp_path, AUTHORITY.issue()))
    before, renewed = certificate.not_after, AUTHORITY.issue(good_for_days=2)

    replace_file(tmp_path / "tls.crt", renewed.pem)
    assert certificate.renew() is None
    assert certificate.not_after == before
    replace_file(tmp_path / "tls.key", renewed.key)
    assert certificate.renew() is not None
    assert certificate.not_after == renewed.certificate.not_valid_after_utc


def test_an_expired_renewal_does_not_replace_a_good_certificate(tmp_path: Path) -> None:
    certificate = ServerCertificate(write(tmp_path, AUTHORITY.issue()))
    before = certificate.not_after

    write(tmp_path, issue("server", good_from=timedelta(days=-2)))

    assert certificate.renew() is None
    assert certificate.not_after == before
