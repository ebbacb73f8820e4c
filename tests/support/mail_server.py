# SPDX-License-Identifier: GPL-2.0-only
"""A mail server of this machine for a test: it takes what it is given, or refuses as it is told."""

from __future__ import annotations

import contextlib
import socketserver
import ssl
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from email import message_from_bytes, policy
from email.message import EmailMessage
from pathlib import Path
from typing import Any


@dataclass
class MailServer:
    """What it has been given.  ``says`` maps a command to what it is answered in place of OK."""

    port: int = 0
    says: dict[str, str] = field(default_factory=dict)
    commands: list[str] = field(default_factory=list)
    mails: list[bytes] = field(default_factory=list)

    @property
    def messages(self) -> list[EmailMessage]:
        lines = [mail.replace(b"\r\n", b"\n") for mail in self.mails]
        parsed = [message_from_bytes(mail, policy=policy.default) for mail in lines]
        return [message for message in parsed if isinstance(message, EmailMessage)]


@contextlib.contextmanager
def mail_server(
    *, tls: tuple[Path, Path] | None = None, at_once: bool = False, **says: str
) -> Iterator[MailServer]:
    """A server on a free port of 127.0.0.1.

    :param tls: a certificate and its key, for STARTTLS; with ``at_once`` from the first byte.
    :param says: what it answers to a command: ``rcpt="550 no such user"``.
    """
    server = MailServer(says={name.upper(): text for name, text in says.items()})
    context = None
    if tls is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*tls)

    class Handler(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            with contextlib.suppress(OSError):
                plain = self.request
                if context and at_once:
                    self.request = context.wrap_socket(plain, server_side=True)
                self.request = _talk(self.request, server, context)
            # What TLS was put around is no longer what the server would close.
            self.request.close()

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler) as listening:
        listening.daemon_threads = True
        server.port = listening.server_address[1]
        thread = threading.Thread(target=listening.serve_forever, args=(0.02,))
        thread.start()
        try:
            yield server
        finally:
            listening.shutdown()
            thread.join()


def _talk(connection: Any, server: MailServer, context: ssl.SSLContext | None) -> Any:
    """Answer until it is over; gives the socket that it was over on."""
    lines = connection.makefile("rb")
    encrypted = isinstance(connection, ssl.SSLSocket)

    def say(text: str) -> None:
        connection.sendall(text.encode() + b"\r\n")

    say("220 here")
    while line := lines.readline():
        command = line.decode().strip()
        word = command.partition(" ")[0].upper()
        server.commands.append(command)
        if word in server.says:
            say(server.says[word])
        elif word == "EHLO":
            offer = "250-STARTTLS\r\n" if context and not encrypted else ""
            say(f"250-here\r\n{offer}250 AUTH PLAIN")
        elif word == "STARTTLS" and context:
            say("220 go on")
            lines.close()
            connection = context.wrap_socket(connection, server_side=True)
            lines, encrypted = connection.makefile("rb"), True
        elif word == "AUTH":
            say("235 welcome")
        elif word == "DATA":
            say("354 go on")
            text = b""
            while (row := lines.readline()) not in (b".\r\n", b""):
                text += row[1:] if row.startswith(b"..") else row
            server.mails.append(text)
            say("250 taken")
        elif word == "QUIT":
            say("221 bye")
            break
        else:
            say("250 OK")
    lines.close()
    return connection
