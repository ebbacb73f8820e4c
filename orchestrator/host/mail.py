# SPDX-License-Identifier: GPL-2.0-only
"""Hand a text to a mail server, by SMTP (RFC 5321)."""

from __future__ import annotations

import smtplib
import ssl
from contextlib import closing
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import formatdate, make_msgid

from orchestrator.model.errors import HostError, UserError
from orchestrator.model.nightly import MailSpec

#: Seconds that a mail server may keep the lab waiting, for each of its answers.
PATIENCE = 30.0


def password_of(spec: MailSpec) -> str:
    """The password to log in with; empty where nobody logs in.

    :raises UserError: when its file cannot be read.
    """
    if not spec.user:
        return ""
    if spec.password_file is None:
        raise UserError("mail: user without password_file", "name the file that holds its password")
    try:
        lines = spec.password_file.read_text(encoding="utf-8").splitlines()
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or error
        raise UserError(f"cannot read the password in {spec.password_file}: {why}") from error
    return lines[0].strip() if lines else ""


def send(spec: MailSpec, subject: str, text: str) -> None:
    """Send a plain text.

    :param subject: one line.
    :raises UserError: when the password cannot be read.
    :raises HostError: when the server cannot be reached, or does not take it, with its words.
    """
    password = password_of(spec)
    message = _message(spec, subject, text)
    try:
        with closing(_connected(spec)) as server:
            if spec.security == "starttls":
                server.starttls(context=ssl.create_default_context())
            if spec.user:
                server.login(spec.user, password)
            refused = server.send_message(message)
            server.quit()
    except (smtplib.SMTPException, OSError, ValueError) as error:
        raise HostError(
            f"cannot send mail by {spec.server}, port {spec.port}: {_why(error)}",
            "`lab nightly --test-summary` tries what nightly: has for mail: in lab.yaml",
        ) from error
    if refused:
        raise HostError(f"{spec.server} takes no mail for {', '.join(sorted(refused))}")


def _connected(spec: MailSpec) -> smtplib.SMTP:
    if spec.security == "tls":
        context = ssl.create_default_context()
        return smtplib.SMTP_SSL(spec.server, spec.port, timeout=PATIENCE, context=context)
    return smtplib.SMTP(spec.server, spec.port, timeout=PATIENCE)


def _message(spec: MailSpec, subject: str, text: str) -> EmailMessage:
    # A line as long as a server must take it (998 characters, RFC 5321, 4.5.3.1.6) is not broken:
    # a kernel's report is pasted and searched for.
    message = EmailMessage(policy=SMTP.clone(max_line_length=998))
    message["From"] = spec.sender
    message["To"] = ", ".join(spec.to)
    message["Subject"] = " ".join(_plain(subject).split())
    message["Date"] = formatdate()
    message["Message-ID"] = make_msgid(domain=spec.sender.rpartition("@")[2] or None)
    message["Auto-Submitted"] = "auto-generated"  # RFC 3834: nobody's holiday note answers it
    message.set_content(_plain(text))
    return message


def _plain(text: str) -> str:
    """Text that can be encoded: bytes of a console that are no UTF-8 are written out."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def _why(error: Exception) -> str:
    """What a server or the system said, in one line."""
    if isinstance(error, smtplib.SMTPRecipientsRefused):
        code, said = next(iter(error.recipients.values()))
        return _answer(code, said)
    if isinstance(error, smtplib.SMTPResponseException):
        return _answer(error.smtp_code, error.smtp_error)
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is not trusted: {error.verify_message}"
    if isinstance(error, ssl.SSLError):
        return f"no TLS there ({error.reason or error}); see security:"
    told = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return " ".join(str(told).split())


def _answer(code: int, said: bytes | str) -> str:
    words = said.decode(errors="replace") if isinstance(said, bytes) else said
    return " ".join(f"{code} {words}".split())
