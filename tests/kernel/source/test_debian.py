# SPDX-License-Identifier: GPL-2.0-only
"""Kernel sources from a Debian package; apt is played."""

# SPDX-License-Identifier: GPL-2.0-only
from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
from fake_kernel import make_tar

from orchestrator.model.errors import HostError, UserError

POLICY = """\
linux-source-6.12:
  Installed: (none)
  Candidate: 6.12.117-1~deb12u1
  Version table:
     6.12.117-1~deb12u1 500
"""


MADISON = "".join(
    f"linux-source-6.12 | {v} | http://deb.debian.org/debian-security Packages\n"
    for v in ("6.12.117-1~deb12u1", "6.12.115-2~deb12u1")
)


@pytest.fixture
def apt(tmp_path, kernel, monkeypatch) -> Path:
    """Stand-ins for apt-get and apt-cache that serve a real, small package; count downloads."""
    package = tmp_path / "package"
    (package / "DEBIAN").mkdir(parents=True)
    (package / "DEBIAN/control").write_text(
        "Package: linux-source-6.12\nVersion: 6.12.117-1~deb12u1\nArchitecture: all\n"
        "Maintainer: x <x@example.org>\nDescription: x\n"
    )
    (package / "usr/src").mkdir(parents=True)
    make_tar(package / "usr/src/linux-source-6.12.tar.xz", kernel, "linux-source-6.12")
    subprocess.run(
        ["dpkg-deb", "--root-owner-group", "-b", package, tmp_path / "served.deb"],
        check=True, capture_output=True,
    )  # fmt: skip
    tools = tmp_path / "bin"
    tools.mkdir()
    (tmp_path / "policy").write_text(POLICY)
    (tmp_path / "madison").write_text(MADISON)
    (tools / "apt-cache").write_text(
        f'#!/bin/sh\ncase "$1" in\npolicy) cat {tmp_path}/policy;;\n'
        f"madison) cat {tmp_path}/madison;;\n"
        "show) echo Size: 153476148;;\nsearch) echo 'linux-source-6.1 - source';;\nesac\n"
    )
    (tools / "apt-get").write_text(
        f'#!/bin/sh\necho "$@" >> {tmp_path}/downloads\n'
        f"[ -e {tmp_path}/broken ] &&"
        " { echo 'E: Failed to fetch x  404  Not Found' >&2; exit 100; }\n"
        f"cp {tmp_path}/served.deb linux-source-6.12_6.12.117-1~deb12u1_all.deb\n"
    )
    for tool in tools.iterdir():
        tool.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tools}:{os.environ['PATH']}")
    return tmp_path


def test_the_candidate_is_fetched_once(apt, fetch, cache, kernel):
    base = fetch("debian:6.12")
    assert base.source == "debian:6.12=6.12.117-1~deb12u1"
    assert (base.slot, base.package_version) == ("debian-6.12", "6.12.117-1~deb12u1")
    assert base.tree == fetch(f"path:{kernel}").tree
    assert fetch("debian:6.12") == base
    assert fetch("debian:6.12=6.12.117-1~deb12u1") == base
    assert (apt / "downloads").read_text().count("linux-source-6.12=") == 1
    assert not list((cache.folder / "tmp").iterdir())


def test_a_version_apt_does_not_have(apt, fetch):
    with pytest.raises(UserError, match=r"it has 6\.12\.117-1~deb12u1, 6\.12\.115-2") as caught:
        fetch("debian:6.12=6.12.99-1")
    assert "apt-get update" in caught.value.hint


@pytest.mark.parametrize("policy", ["", "linux-source-6.12:\n  Candidate: (none)\n"])
def test_a_package_apt_does_not_know(apt, fetch, policy):
    (apt / "policy").write_text(policy)
    with pytest.raises(UserError, match=r"it knows linux-source-6\.1") as caught:
        fetch("debian:6.12")
    assert "apt-get update" in caught.value.hint


def test_an_apt_that_cannot_tell_is_the_hosts_failure(apt, fetch):
    """A full TMPDIR, say: the package may well exist."""
    (apt / "bin" / "apt-cache").write_text(
        "#!/bin/sh\necho 'E: Write error - write (28: No space left)' >&2; exit 100\n"
    )
    with pytest.raises(HostError, match=r"apt-cache policy linux-source-6\.12 failed: E: Write"):
        fetch("debian:6.12")


def test_a_download_that_fails(apt, fetch, cache):
    (apt / "broken").touch()
    with pytest.raises(HostError, match="404  Not Found") as caught:
        fetch("debian:6.12")
    assert "apt-get update" in caught.value.hint
    assert not list((cache.folder / "tmp").iterdir())


def test_no_apt(fetch, monkeypatch, tmp_path):
    monkeypatch.setattr("orchestrator.host.process.find_tool", lambda name: None)
    monkeypatch.setattr(
        "orchestrator.host.process.shutil.which",
        lambda name, path=None: None if name.startswith("apt") else f"/usr/bin/{name}",
    )
    with pytest.raises(HostError, match="need apt"):
        fetch("debian:6.12")


@pytest.mark.parametrize("text", ["6", "6.12=", "6.12=-x", "six", "6.12 ", "6.12=1;x", "../6.12"])
def test_what_is_no_debian_source(apt, fetch, text):
    if text == "6.12=":  # nothing pinned after all
        assert fetch(f"debian:{text}").package_version
        return
    with pytest.raises(UserError, match=r"lab\.yaml:3: 'debian:"):
        fetch(f"debian:{text}")
    assert not (apt / "downloads").exists()
