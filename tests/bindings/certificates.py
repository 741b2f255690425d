"""A test CA and what it signs, made once."""

import functools
import ssl
from dataclasses import dataclass
from pathlib import Path

import trustme


@dataclass(frozen=True)
class Certificates:
    """Contexts for both sides, and the CA to make more."""

    authority: trustme.CA
    server: ssl.SSLContext
    client: ssl.SSLContext

    def write(self, directory: Path) -> tuple[Path, Path, Path]:
        """Write the CA, a certificate for localhost and its key; return their paths."""
        leaf = self.authority.issue_cert("localhost", "127.0.0.1")
        paths = directory / "ca.pem", directory / "cert.pem", directory / "key.pem"
        self.authority.cert_pem.write_to_path(paths[0])
        leaf.private_key_pem.write_to_path(paths[2])
        with paths[1].open("wb") as file:
            for blob in leaf.cert_chain_pems:
                file.write(blob.bytes())
        return paths


@functools.cache
def certificates() -> Certificates:
    """Return the test CA's."""
    authority = trustme.CA()
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost", "127.0.0.1").configure_cert(server)
    client = ssl.create_default_context()
    authority.configure_trust(client)
    return Certificates(authority, server, client)
