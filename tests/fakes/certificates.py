"""Certificates of tests: signed by themselves, or by an authority that is made here too."""

import datetime as dt
import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

LOCAL_NAMES = ("localhost", "127.0.0.1")


@dataclass(frozen=True)
class Issued:
    """A certificate with its key."""

    certificate: x509.Certificate
    private_key: ec.EllipticCurvePrivateKey

    @property
    def pem(self) -> bytes:
        return self.certificate.public_bytes(serialization.Encoding.PEM)

    @property
    def key(self) -> bytes:
        return self.private_key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )


class Authority:
    """Signs certificates; another one has another key and another name."""

    def __init__(self, name: str = "authority") -> None:
        self._own = issue(name, is_authority=True)
        self.pem = self._own.pem

    def issue(
        self, *names: str, good_from: dt.timedelta = dt.timedelta(), good_for_days: float = 1
    ) -> Issued:
        """Sign a certificate for these names, by default those of this machine."""
        return issue(
            "server",
            names or LOCAL_NAMES,
            by=self._own,
            good_from=good_from,
            good_for_days=good_for_days,
        )


def issue(
    common_name: str,
    names: Sequence[str] = (),
    *,
    by: Issued | None = None,
    is_authority: bool = False,
    good_from: dt.timedelta = dt.timedelta(),
    good_for_days: float = 1,
) -> Issued:
    """Return a certificate that is good from now and ``good_from`` on; its own without ``by``."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, common_name)])
    begin = dt.datetime.now(dt.UTC) - dt.timedelta(minutes=1) + good_from
    builder = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(by.certificate.subject if by else name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(begin)
        .not_valid_after(begin + dt.timedelta(days=good_for_days))
        .add_extension(x509.BasicConstraints(ca=is_authority, path_length=None), critical=True)
    )
    if names:
        alternatives = x509.SubjectAlternativeName([_general_name(each) for each in names])
        builder = builder.add_extension(alternatives, critical=False)
    signer = by.private_key if by else key
    return Issued(builder.sign(signer, hashes.SHA256()), key)


def replace_file(path: Path, content: bytes) -> Path:
    """Put a file in place of the one before, in one step and readable by its owner alone."""
    staging = path.with_suffix(".new")
    staging.write_bytes(content)
    staging.chmod(0o600)
    return staging.replace(path)


def write_certificate(folder: Path) -> Path:
    """Write key and certificate into one file, in place of the one before, and return its path."""
    issued = issue("localhost", ["localhost"], is_authority=True)
    return replace_file(folder / "certificate.pem", issued.key + issued.pem)


def _general_name(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)
