# SPDX-License-Identifier: GPL-2.0-only
"""A build whose Makefile is hostile: real make in real bubblewrap, and as another user."""

from __future__ import annotations

import os
import pwd
import shutil
import socket
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from orchestrator.host import walls
from orchestrator.host.cache.files import FENCED, Cache
from orchestrator.kernel.build import make as build
from orchestrator.kernel.build.folders import build_folder
from orchestrator.kernel.build.request import BuildRequest, build_request
from orchestrator.model.arch import ARCHES
from orchestrator.model.errors import HostError
from orchestrator.model.kernel import BuildResult, KernelTree
from orchestrator.model.names import Verdict
from orchestrator.model.spec import Build, ConfigSpec, KernelSpec
from orchestrator.model.walls import BUBBLEWRAP, WallsSpec

# Its image is what became of each attempt; "no" where the wall held.
MAKEFILE = r"""
allnoconfig:
	@cat $(KCONFIG_ALLCONFIG) > $(O)/.config
bzImage:
	@echo "  CC      mm/evil.o"
	@touch $(O)/vmlinux && mkdir -p $(O)/arch/x86/boot
	@: > $(O)/arch/x86/boot/bzImage
	@for path in $(OUTSIDE); do \
		if (echo evil > $$path) 2> /dev/null; then echo "wrote $$path"; else echo no; fi; \
	done >> $(O)/arch/x86/boot/bzImage
	@if python3 -c "import socket; socket.create_connection(('127.0.0.1', $(PORT)), 5)" \
		2> /dev/null; then echo "network"; else echo no; fi >> $(O)/arch/x86/boot/bzImage
	@if cat $(SECRET) 2> /dev/null; then :; else echo no; fi >> $(O)/arch/x86/boot/bzImage
	@id -u >> $(O)/arch/x86/boot/bzImage
	@ulimit -f >> $(O)/arch/x86/boot/bzImage
	@$(LAST)
"""


@pytest.fixture(autouse=True)
def names_of_trees_that_no_store_has(monkeypatch: pytest.MonkeyPatch) -> None:
    """The trees here are names alone."""
    monkeypatch.setattr(build.shadow, "includable", lambda _tree, _cache: "names")
    monkeypatch.setattr(build.shadow, "forget", lambda *_: None)


@pytest.fixture
def place() -> Iterator[Path]:
    """A folder that any user may enter, unlike pytest's own."""
    folder = Path(tempfile.mkdtemp(prefix="lab-test-", dir="/var/tmp"))
    folder.chmod(0o755)
    yield folder
    walls.put_up(WallsSpec())
    shutil.rmtree(folder)


@pytest.fixture
def listener() -> Iterator[int]:
    """The port of a server on this host's loopback."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


def outside(place: Path) -> list[Path]:
    """Where a build has no business to write: its sources, other builds, the reports, anywhere."""
    (place / "reports").mkdir(exist_ok=True)
    return [place / "linux/planted", place / "cache/builds/planted", place / "reports/planted",
            place / "cache/ccache/planted", place / "planted"]  # fmt: skip


def request(place: Path, listener: int, series: str | None = "p", last: str = "true",
            source: str = "debian:6.12") -> BuildRequest:  # fmt: skip
    for name in ("linux", "cache/builds", "cache/ccache"):
        (place / name).mkdir(parents=True, exist_ok=True)
    (place / "linux/Makefile").write_text(MAKEFILE)
    (place / "linux/Kconfig").write_text('config A\n\tbool "A"\n')
    (place / "base.config").write_text("CONFIG_A=y\n")
    secret = place / "secret"
    secret.write_text("secret\n")
    secret.chmod(0o600)
    kernel = KernelSpec("k", source, series)
    made = KernelTree(kernel, "6.12.117", "b" * 40, "a" * 40, touched_files=())
    wanted = Build("k/c/x86_64", kernel, ConfigSpec("c", (place / "base.config",)), "x86_64")
    words = (f"OUTSIDE={' '.join(map(str, outside(place)))}", f"PORT={listener}",
             f"SECRET={secret}", f"LAST={last}")  # fmt: skip
    return build_request(wanted, made, "slot", ARCHES["x86_64"], place / "base.config", words)


def built(wanted: BuildRequest, place: Path) -> BuildResult:
    return build.build_kernel(
        wanted, place / "linux", Cache(place / "cache"), jobs=1, deadline=60
    )  # fmt: skip


def image(result: BuildResult) -> list[str]:
    assert result.image is not None, result.reason
    return result.image.read_text().splitlines()


def fence() -> None:
    if not walls.bubblewrap_works():
        pytest.skip("this host has no bubblewrap, or forbids it")
    walls.put_up(WallsSpec(build_sandbox=BUBBLEWRAP))


def test_without_a_fence_it_writes_where_the_user_may_and_reaches_the_network(
    place: Path, listener: int
) -> None:
    said = image(built(request(place, listener), place))
    assert said[:5] == [f"wrote {path}" for path in outside(place)]
    assert said[5:8] == ["network", "secret", str(os.geteuid())]


def test_in_a_fence_it_writes_to_its_build_folder_alone_and_has_no_network(
    place: Path, listener: int
) -> None:
    fence()
    result = built(request(place, listener), place)
    assert result.verdict is Verdict.PASS
    assert image(result)[:6] == ["no"] * 6
    assert not [path for path in outside(place) if path.exists()]


def test_a_fenced_build_does_not_see_the_users_files(
    place: Path, listener: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those of the home folder; the cache is in it, and is seen all the same."""
    fence()
    monkeypatch.setenv("HOME", str(place))
    said = image(built(request(place, listener), place))
    assert said[6] == "no"


def test_what_a_fenced_build_left_is_no_start_for_another(place: Path, listener: int) -> None:
    fence()
    wanted = request(place, listener)
    assert wanted.fenced
    built(wanted, place)
    cache = Cache(place / "cache")
    (own,) = cache.build_folders("slot", "*", "x86_64", fenced=True)
    assert own.name == f"slot-c{FENCED}{'a' * 12}-x86_64"
    assert (own / "vmlinux").exists()
    fresh = build_folder(cache, "slot", "c", "x86_64", "", pytest.fail)
    assert not list(fresh.iterdir()), "a copy of it would bring along what was planted"


@pytest.mark.parametrize(("source", "series", "fenced"), [
    ("debian:6.12", None, False), ("debian:6.12", "series", True), ("path:linux", None, True),
    ("git:https://example.org/x#y", None, True), ("tar:a.tar", None, True),
])  # fmt: skip
def test_all_but_plain_debian_sources_is_fenced(
    place: Path, listener: int, source: str, series: str | None, fenced: bool
) -> None:
    fence()
    assert request(place, listener, series, source=source).fenced is fenced


def test_a_link_in_the_place_of_the_image_is_not_followed(place: Path, listener: int) -> None:
    fence()
    for made in ("ln -sf {place}/secret", "rm -f $@; mkfifo"):
        last = f"{made.format(place=place)} $(O)/arch/x86/boot/bzImage".replace(
            "$@", "$(O)/arch/x86/boot/bzImage"
        )
        with pytest.raises(HostError, match=r"put a link out of its folder.*in the place of .*bzI"):
            built(request(place, listener, last=last), place)


def test_a_pipe_in_the_place_of_what_the_lab_opens_does_not_stop_it(
    place: Path, listener: int
) -> None:
    fence()
    last = "cd $(O) && rm -f .lab-lock lab.config .lab-origin && mkfifo .lab-lock .lab-origin"
    built(request(place, listener, last=last), place)
    assert built(request(place, listener), place).verdict is Verdict.PASS


def test_nothing_is_written_where_a_link_leads_that_a_build_left(
    place: Path, listener: int
) -> None:
    fence()
    target = place / "target"
    target.write_text("mine\n")
    last = f"cd $(O); for name in .config lab.config .lab-origin; do ln -sf {target} $$name; done"
    wanted = request(place, listener, last=last)
    with pytest.raises(HostError, match=r"put a link out of its folder.*/\.config"):
        built(wanted, place)
    built(request(place, listener), place)
    assert target.read_text() == "mine\n"


def test_a_file_of_a_build_has_a_limit(place: Path, listener: int) -> None:
    said = image(built(request(place, listener), place))
    assert int(said[8]) * 512 == walls.BUILD_FILE_MIB << 20


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can run programs as another user")
def test_it_runs_as_the_user_that_is_named(place: Path, listener: int) -> None:
    walls.put_up(WallsSpec(run_as="nobody"))
    result = built(request(place, listener), place)
    said = image(result)
    assert said[:3] == ["no"] * 3
    assert said[4] == "no"
    assert said[6:8] == ["no", str(pwd.getpwnam("nobody").pw_uid)]
    assert result.image is not None
    assert result.image.stat().st_uid == 0, "what is kept is the lab's own"
    again = built(request(place, listener, series="other"), place)
    assert again.cached


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can run programs as another user")
def test_a_user_who_cannot_reach_the_cache_is_told_where_it_ends(
    place: Path, listener: int
) -> None:
    walls.put_up(WallsSpec(run_as="nobody"))
    (place / "cache").mkdir()
    (place / "cache").chmod(stat.S_IRWXU)
    with pytest.raises(HostError, match=f"nobody may not enter {place}/cache") as caught:
        built(request(place, listener), place)
    assert f"chmod o+x {place}/cache" in caught.value.hint
