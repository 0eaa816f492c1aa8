"""The certificate that a server shows, from files that may be replaced while it runs.

cert-manager and the like write a renewed certificate into the same files. Each handshake looks
whether they are other ones than before; a pair that is unusable is logged, and the one before it is
shown on.
"""

import logging
import os
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import grpc
from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_pem_private_key,
)
from opentelemetry.metrics import CallbackOptions, Meter, Observation

from tieline.chassis.process import StartError

logger = logging.getLogger(__name__)


class CertificateError(Exception):
    """Files that make no usable certificate; the text names the file and what is wrong with it."""


@dataclass(frozen=True, slots=True)
class CertificateFiles:
    """Where a server's certificate lies."""

    certificate: str
    """PEM file: the certificate, and the chain behind it."""

    key: str
    """PEM file: its private key, not encrypted."""

    client_authority: str = ""
    """PEM file: who signs clients' certificates. Empty asks clients for none."""

    def paths(self) -> Sequence[str]:
        """Return the files that are given."""
        return [name for name in (self.certificate, self.key, self.client_authority) if name]


@dataclass(frozen=True, slots=True)
class Certificate:
    """What the files held when they were read."""

    chain: bytes
    key: bytes
    client_authority: bytes | None
    not_after: datetime

    def configuration(self) -> grpc.ServerCertificateConfiguration:
        """Return it as gRPC takes it."""
        return grpc.ssl_server_certificate_configuration(
            [(self.key, self.chain)], root_certificates=self.client_authority
        )


def read_certificate(files: CertificateFiles, now: datetime) -> Certificate:
    """Read the files; CertificateError where a client would refuse what they hold."""
    chain, key = _read(files.certificate), _read(files.key)
    certificate = _parse_chain(files.certificate, chain)[0]
    if _public_bytes(certificate) != _public_bytes_of_key(files.key, key):
        raise CertificateError(f"{files.key} is not the key of {files.certificate}")
    if certificate.not_valid_after_utc <= now:
        raise CertificateError(
            f"{files.certificate} has expired on {certificate.not_valid_after_utc:%Y-%m-%d %H:%M}"
        )
    authority = _read(files.client_authority) if files.client_authority else None
    if authority is not None:
        _parse_chain(files.client_authority, authority)
    return Certificate(chain, key, authority, certificate.not_valid_after_utc)


def read_end(path: str) -> datetime:
    """Return when the first certificate of a PEM file expires; CertificateError without one."""
    return _parse_chain(path, _read(path))[0].not_valid_after_utc


class ServerCertificate:
    """One server's certificate, read anew when its files are replaced."""

    def __init__(self, files: CertificateFiles) -> None:
        """Read the files. Raises StartError, which says what is wrong with them."""
        self._files = files
        self._seen = self._stamps()
        try:
            self._current = read_certificate(files, datetime.now(UTC))
        except CertificateError as error:
            raise StartError(
                f"{error}: correct TIELINE_GRPC_TLS_CERT_FILE, TIELINE_GRPC_TLS_KEY_FILE and "
                "TIELINE_GRPC_TLS_CLIENT_CA_FILE, or the files"
            ) from None

    @property
    def not_after(self) -> datetime:
        """When the certificate that is shown expires."""
        return self._current.not_after

    def credentials(self) -> grpc.ServerCredentials:
        """Return credentials that show the certificate that is current at each handshake."""
        return grpc.dynamic_ssl_server_credentials(
            self._current.configuration(),
            # None for what has not changed is not in the types.
            self.renew,  # type: ignore[arg-type]
            require_client_authentication=bool(self._files.client_authority),
        )

    def renew(self) -> grpc.ServerCertificateConfiguration | None:
        """Return what the files hold now; None where that is what is shown, or is unusable.

        gRPC asks from a thread of its own, before each handshake.
        """
        stamps = self._stamps()
        if stamps == self._seen:
            return None
        try:
            self._current = read_certificate(self._files, datetime.now(UTC))
        except CertificateError as error:
            # Also between the writes of two files. They are looked at again once they change.
            logger.warning("the certificate before is shown on: %s", error)
            return None
        finally:
            self._seen = stamps
        logger.info("a renewed certificate is shown, good until %s", self._current.not_after)
        return self._current.configuration()

    def _stamps(self) -> list[tuple[int, int] | None]:
        return [_stamp(path) for path in self._files.paths()]


def observe_certificate(meter: Meter, certificate: ServerCertificate) -> None:
    """Register the gauge of when the certificate expires."""

    def observe(_: CallbackOptions) -> list[Observation]:
        # Without a handshake nobody has looked; who watches the date wants what lies there.
        certificate.renew()
        return [Observation(certificate.not_after.timestamp())]

    meter.create_observable_gauge(
        "certificate.not_after", [observe], "s", "When the server's certificate expires, Unix time."
    )


def _stamp(path: str) -> tuple[int, int] | None:
    try:
        stat = os.stat(path)
    except OSError:
        return None
    return stat.st_mtime_ns, stat.st_ino


def _read(path: str) -> bytes:
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise CertificateError(f"{path} can't be read ({error.strerror})") from None


def _parse_chain(path: str, pem: bytes) -> Sequence[x509.Certificate]:
    try:
        return x509.load_pem_x509_certificates(pem)
    except ValueError:
        raise CertificateError(f"{path} holds no certificate in PEM") from None


def _public_bytes(certificate: x509.Certificate) -> bytes:
    return certificate.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def _public_bytes_of_key(path: str, pem: bytes) -> bytes:
    try:
        key = load_pem_private_key(pem, None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise CertificateError(f"{path} holds no unencrypted private key in PEM") from None
    return key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
