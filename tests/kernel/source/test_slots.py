# SPDX-License-Identifier: GPL-2.0-only
"""The name of a source's own work tree, told from the source's alone."""

from __future__ import annotations

from fake_kernel import commit_all

from orchestrator.kernel.source.slots import own_slot


def test_it_is_the_one_that_the_source_gets_when_it_is_read(fetch, kernel, monkeypatch):
    source = f"path:{kernel}"
    assert fetch(source).slot == own_slot(source)
    commit_all(kernel, "all")
    for source in (f"git:{kernel}", f"git:{kernel}#HEAD"):
        assert fetch(source).slot == own_slot(source)
    monkeypatch.chdir(kernel.parent)
    assert own_slot("path:linux") == own_slot(f"path:{kernel}")
    assert own_slot("debian:6.12=6.12.117-1") == own_slot("debian:6.12") == "debian-6.12"


def test_a_tar_files_needs_the_version_that_is_in_it():
    assert own_slot("tar:linux-6.12.tar.xz") == ""
