"""Certificates for a bundled Java: its own list does not know a company's authority."""

from __future__ import annotations

import os
from pathlib import Path

#: The variables by which users name their certificates to Python tools, in pip's order of habit.
VARIABLES = ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "PIP_CERT")
PASSWORD = "lakescore"  # noqa: S105  a trust store holds public certificates only


def certificate_bundle() -> Path | None:
    """The PEM file that the environment names, if there is one."""
    named = (os.environ.get(variable) for variable in VARIABLES)
    return next((Path(value) for value in named if value and Path(value).is_file()), None)


def write_trust_store(bundle: Path, target: Path) -> list[str]:
    """Write the PEM `bundle` as a Java trust store; return the JVM options that select it."""
    from cryptography import x509
    from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, pkcs12

    certificates = x509.load_pem_x509_certificates(bundle.read_bytes())
    entries = [
        pkcs12.PKCS12Certificate(certificate, f"ca-{number}".encode())
        for number, certificate in enumerate(certificates)
    ]
    target.write_bytes(
        pkcs12.serialize_java_truststore(entries, BestAvailableEncryption(PASSWORD.encode()))
    )
    return [
        f"-Djavax.net.ssl.trustStore={target}",
        "-Djavax.net.ssl.trustStoreType=PKCS12",
        f"-Djavax.net.ssl.trustStorePassword={PASSWORD}",
    ]
