"""Certificates for a bundled Java: its own list does not know a company's authority.

`cryptography` can write a trust store too, but it parses each certificate and is about to refuse
some that real bundles hold (serial number 0); a store needs their bytes only.
"""

from __future__ import annotations

import hashlib
import os
import re
import ssl
import struct
from pathlib import Path

#: The variables by which users name their certificates to Python tools.
VARIABLES = ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "PIP_CERT")

#: A trust store holds public certificates; its password only guards against accidents.
PASSWORD = "changeit"  # noqa: S105

_PEM = re.compile("-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----", re.DOTALL)
_MAGIC, _VERSION, _TRUSTED = 0xFEEDFEED, 2, 2


def certificate_bundle() -> Path | None:
    """The PEM file that the environment names, if there is one."""
    named = (os.environ.get(variable) for variable in VARIABLES)
    return next((Path(value) for value in named if value and Path(value).is_file()), None)


def write_trust_store(bundle: Path, target: Path) -> list[str]:
    """Write the PEM `bundle` as a Java trust store; return the JVM options that select it."""
    certificates = _PEM.findall(bundle.read_text(errors="replace"))
    target.write_bytes(java_key_store([ssl.PEM_cert_to_DER_cert(pem) for pem in certificates]))
    return [
        f"-Djavax.net.ssl.trustStore={target}",
        "-Djavax.net.ssl.trustStoreType=JKS",
        f"-Djavax.net.ssl.trustStorePassword={PASSWORD}",
    ]


def java_key_store(certificates: list[bytes]) -> bytes:
    """The JKS form (sun.security.provider.JavaKeyStore) of DER certificates, all trusted."""
    body = struct.pack(">III", _MAGIC, _VERSION, len(certificates))
    for number, certificate in enumerate(certificates):
        body += struct.pack(">I", _TRUSTED) + _text(f"ca-{number}") + struct.pack(">Q", 0)
        body += _text("X.509") + struct.pack(">I", len(certificate)) + certificate
    # The format's own checksum, not a signature: SHA-1 and the phrase are fixed by it.
    salted = PASSWORD.encode("utf-16-be") + b"Mighty Aphrodite" + body
    return body + hashlib.sha1(salted, usedforsecurity=False).digest()


def _text(value: str) -> bytes:
    return struct.pack(">H", len(value)) + value.encode()
