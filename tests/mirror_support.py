"""A site's private mirrors, small and real: a package index and a Debian mirror, both with what a site adds to them."""

from __future__ import annotations

import base64
import datetime
import http.server
import io
import ipaddress
import ssl
import threading
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from tests.engine_support import run

USER, PASSWORD = "me", "planted-mirror-password"
PEM = serialization.Encoding.PEM
MAY_SIGN = x509.KeyUsage(
    key_cert_sign=True,
    crl_sign=True,
    digital_signature=True,
    content_commitment=False,
    key_encipherment=False,
    data_encipherment=False,
    key_agreement=False,
    encipher_only=False,
    decipher_only=False,
)
WHEELS = {version: f"windrose_probe-{version}-py3-none-any.whl" for version in ("1.0", "2.0")}


@dataclass
class Mirror:
    """A mirror that runs: where it is, whom it trusts, and what it has seen."""

    address: str
    authority: Path | None = None  # the certificate of who vouches for it
    asked: list[str] = field(default_factory=list)  # the paths that somebody has asked for
    exposed: list[str] = field(default_factory=list)  # processes that showed the password while they asked


def gateway() -> str:
    """Return the address under which containers reach this machine."""
    template = "--format={{(index .IPAM.Config 0).Gateway}}"
    return run("docker", "network", "inspect", template, "bridge").stdout.strip()


def make_wheel(version: str) -> bytes:
    """Return a package; the second version of it wants what the lock does not hold."""
    packed = io.BytesIO()
    info = f"windrose_probe-{version}.dist-info"
    needs = "Requires-Dist: paramiko<3\n" if version == "2.0" else ""
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("windrose_probe.py", "")
        metadata = f"Metadata-Version: 2.1\nName: windrose-probe\nVersion: {version}\n{needs}"
        archive.writestr(f"{info}/METADATA", metadata)
        facts = "Wheel-Version: 1.0\nGenerator: t\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        archive.writestr(f"{info}/WHEEL", facts)
        archive.writestr(f"{info}/RECORD", "")
    return packed.getvalue()


def showing_password() -> list[str]:
    """Return the programs whose arguments or environment hold the password."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            shown = (process / "cmdline").read_bytes() + (process / "environ").read_bytes()
            found += [(process / "comm").read_text().strip()] if PASSWORD.encode() in shown else []
        except OSError:
            continue
    return found


class Handler(http.server.BaseHTTPRequestHandler):
    """What both mirrors have in common."""

    mirror: Mirror
    usual = ""  # where everything else is found

    def answer(self, status: int, body: bytes, headers: dict[str, str]) -> None:
        """Send a whole answer."""
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body if self.command == "GET" else b"")

    def log_message(self, *_: object) -> None:
        """Say nothing."""


class Index(Handler):
    """A package index: one package of its own behind a password, everything else from this machine's usual index."""

    def do_GET(self) -> None:
        expected = "Basic " + base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
        if self.headers.get("Authorization") != expected:
            self.answer(401, b"", {"WWW-Authenticate": "Basic"})
            return
        self.mirror.asked.append(self.path)
        self.mirror.exposed.extend(showing_password())
        if self.path.endswith(".whl"):
            wheel = make_wheel("1.0" if WHEELS["1.0"] in self.path else "2.0")
            self.answer(200, wheel, {"Content-Type": "application/octet-stream"})
        elif "windrose-probe" in self.path:
            links = "".join(f'<a href="/{wheel}">{wheel}</a>' for wheel in WHEELS.values())
            self.answer(200, links.encode(), {"Content-Type": "text/html"})
        else:
            self.answer(302, b"", {"Location": self.usual + self.path.removeprefix("/simple/")})

    do_HEAD = do_GET


class Debian(Handler):
    """A Debian mirror: it knows the way to everything that this machine's own mirror has."""

    def do_GET(self) -> None:
        self.mirror.asked.append(self.path)
        self.answer(302, b"", {"Location": self.usual + self.path.removeprefix("/debian/")})

    do_HEAD = do_GET


class Server(http.server.ThreadingHTTPServer):
    """A server that says nothing of clients who do not trust it: that is what some tests are about."""

    def handle_error(self, *_: object) -> None:
        """Say nothing."""


@contextmanager
def serve(kind: type[Handler], host: str, usual: str, authority: Authority | None = None) -> Iterator[Mirror]:
    """Run a mirror; where an authority vouches for it, it speaks TLS."""
    mirror = Mirror("", authority.certificate if authority else None)
    server = Server((host, 0), type("Own", (kind,), {"mirror": mirror, "usual": usual}))
    if authority:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(authority.issue(host))
        server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    mirror.address = f"{'https' if authority else 'http'}://{host}:{server.server_port}"
    try:
        yield mirror
    finally:
        server.shutdown()
        server.server_close()


def usual_index() -> str:
    """Return the package index that this machine uses."""
    program = "from pip._internal.models.index import PyPI; print(PyPI.simple_url)"
    return run("python3", "-c", program).stdout.strip() + "/"


@contextmanager
def private_index(host: str, folder: Path) -> Iterator[Mirror]:
    """Run a package index that wants a password, under a certificate that no machine trusts by itself."""
    with serve(Index, host, usual_index(), Authority(folder)) as mirror:
        mirror.address = mirror.address.replace("://", f"://{USER}:{PASSWORD}@") + "/simple"
        yield mirror


@dataclass
class Authority:
    """A site's own authority, which no machine trusts by itself."""

    folder: Path
    key: ec.EllipticCurvePrivateKey = field(default_factory=lambda: ec.generate_private_key(ec.SECP256R1()))
    name: x509.Name = field(default_factory=lambda: named("A site's own authority"))

    @property
    def certificate(self) -> Path:
        """The authority's certificate, written when it is first asked for."""
        path = self.folder / "authority.pem"
        if not path.exists():
            builder = x509.CertificateBuilder(self.name, self.name, self.key.public_key())
            builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
            path.write_bytes(self.sign(builder.add_extension(MAY_SIGN, critical=True), self.key.public_key()))
        return path

    def issue(self, host: str) -> Path:
        """Write a certificate for a server, with its key; return the file."""
        key = ec.generate_private_key(ec.SECP256R1())
        names = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address(host))])
        builder = x509.CertificateBuilder(self.name, named(host), key.public_key())
        private = key.private_bytes(PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        path = self.folder / "server.pem"
        path.write_bytes(self.sign(builder.add_extension(names, critical=False), key.public_key()) + private)
        return path

    def sign(self, builder: x509.CertificateBuilder, key: ec.EllipticCurvePublicKey) -> bytes:
        """Return a certificate that is valid today, with what a strict reader (Python from 3.13 on) wants to find."""
        own = x509.AuthorityKeyIdentifier.from_issuer_public_key(self.key.public_key())
        builder = builder.add_extension(own, critical=False)
        builder = builder.add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
        now = datetime.datetime.now(datetime.UTC)
        begun = builder.not_valid_before(now - datetime.timedelta(hours=1)).serial_number(x509.random_serial_number())
        return (
            begun.not_valid_after(now + datetime.timedelta(hours=9)).sign(self.key, hashes.SHA256()).public_bytes(PEM)
        )


def named(name: str) -> x509.Name:
    """Return a name as certificates write it."""
    return x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
