"""How the connection to NATS is secured."""

import ssl
from dataclasses import dataclass

SCHEME = "tls://"


@dataclass(frozen=True, slots=True)
class BrokerTls:
    """PEM files, read anew at each connection, so that replaced ones need no restart."""

    ca_file: str = ""
    """Who signs the servers' certificates; empty for whom the system trusts."""

    cert_file: str = ""
    """The client's own certificate with its chain; empty shows none."""

    key_file: str = ""
    """Its key."""

    def is_wanted(self, url: str) -> bool:
        """Tell whether a server without TLS is refused."""
        return bool(self.ca_file or self.cert_file) or url.startswith(SCHEME)

    def context(self) -> ssl.SSLContext:
        """Read the files. Raises OSError, of which ssl.SSLError is one, when they are unusable."""
        context = ssl.create_default_context(cafile=self.ca_file or None)
        if self.cert_file:
            context.load_cert_chain(self.cert_file, self.key_file or None)
        return context


NO_FILES = BrokerTls()
