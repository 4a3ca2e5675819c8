"""A mail server and a webhook that take whatever comes: for tests of who is told what."""

from __future__ import annotations

import email
import email.policy
import json
import socketserver
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass
class Received:
    """Where the two servers listen, and what came."""

    host: str
    http_port: int = 0
    smtp_port: int = 0
    posts: list[str] = field(default_factory=list)  # the text of each call of the webhook
    mails: list[str] = field(default_factory=list)  # subject and text of each mail
    recipients: set[str] = field(default_factory=set)

    def posts_of(self, run_id: str) -> list[str]:
        """Return the first line of each call that names a run."""
        return sorted(text.splitlines()[0] for text in self.posts if run_id in text)

    def mails_of(self, run_id: str) -> list[str]:
        """Return the subject of each mail that names a run."""
        return sorted(text.splitlines()[0] for text in self.mails if run_id in text)


class Webhook(BaseHTTPRequestHandler):
    """Takes what is posted."""

    received: Received

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.received.posts.append(json.loads(body)["text"])
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Say nothing."""


class MailServer(socketserver.StreamRequestHandler):
    """Speaks as much SMTP as it takes to hand over a mail."""

    received: Received

    def handle(self) -> None:
        self.say(220)
        for line in self.rfile:
            word = line.decode().split(":")[0].split()[0].upper()
            if word == "RCPT":
                self.received.recipients.add(line.decode().split("<")[1].split(">")[0])
            if word == "DATA":
                self.say(354)
                self.take_mail()
            self.say(221 if word == "QUIT" else 250)
            if word == "QUIT":
                return

    def take_mail(self) -> None:
        lines = iter(self.rfile.readline, b".\r\n")
        message = email.message_from_bytes(b"".join(lines), policy=email.policy.default)
        body = message.get_body(("html", "plain"))
        assert body is not None
        self.received.mails.append(f"{message['Subject']}\n{body.get_content()}")

    def say(self, code: int) -> None:
        self.wfile.write(f"{code} test\r\n".encode())


@contextmanager
def receiving(host: str) -> Iterator[Received]:
    """Listen on an address of this machine."""
    received = Received(host)
    webhook = ThreadingHTTPServer((host, 0), type("Webhook", (Webhook,), {"received": received}))
    mail = socketserver.ThreadingTCPServer((host, 0), type("MailServer", (MailServer,), {"received": received}))
    mail.daemon_threads = True
    received.http_port, received.smtp_port = webhook.server_address[1], mail.server_address[1]
    for server in (webhook, mail):
        threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield received
    finally:
        for server in (webhook, mail):
            server.shutdown()
            server.server_close()
