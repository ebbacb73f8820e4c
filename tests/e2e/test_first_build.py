# SPDX-License-Identifier: GPL-2.0-only
"""The first build of a user's tree on a real kernel: little is compiled, and nothing is stale.

A kernel of as few objects as Kconfig allows is built of Debian's sources; then a user's tree that
differs, in which files were changed and added.  What comes of it is compared, object by object,
with a build of the same tree from nothing.
"""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from orchestrator.commands.workspace import find_places
from orchestrator.host.cache.files import Cache
from orchestrator.kernel.source import store
from orchestrator.model.kernel import BuildResult
from orchestrator.model.names import Verdict
from orchestrator.model.spec import Build, ConfigSpec, KernelSpec
from orchestrator.runner import stages
from orchestrator.runner.context import Context, Event, Kernel, Machine, RunValues

pytestmark = pytest.mark.guest

BASE = "debian:6.12"


@pytest.fixture(scope="module")
def fragments(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("fragments")
    (folder / "tiny.config").write_text("CONFIG_EXPERT=y\nCONFIG_PRINTK=y\n")
    (folder / "x86_64.config").write_text("CONFIG_KERNEL_LZ4=y\n")
    return folder


@pytest.fixture
def a_cache(tmp_path: Path) -> Callable[[str], Cache]:
    """Caches of their own that share the user's imported sources, and no object nor ccache."""
    users = find_places().cache

    def work(name: str) -> Cache:
        own = Cache(tmp_path / name)
        own.folder.mkdir()
        for theirs, link in ((users.store, own.store), (users.locks, own.locks)):
            theirs.mkdir(parents=True, exist_ok=True)
            link.symlink_to(theirs)
        if users.records.is_dir():
            (own.records).mkdir()
            (own.records / "sources").symlink_to(users.records / "sources")
        return own

    return work


def build(
    source: str, cache: Cache, fragments: Path, told: list[str]
) -> tuple[Kernel, BuildResult]:
    def listen(event: Event) -> None:
        if event.stage == "start":
            told.append(event.text)

    machine = Machine(cache, cache.folder / "run", fragments)
    context = Context(RunValues("first", 2), machine, listen)
    spec = KernelSpec("k", source)
    kernel = stages.prepare_kernel(spec, context)
    config = ConfigSpec("tiny", (fragments / "tiny.config",))
    built = stages.build_one(Build("k/tiny/x86_64", spec, config, "x86_64"), kernel, context)
    assert built.verdict is Verdict.PASS, built.reason
    return kernel, built


def objects(cache: Cache, slot: str) -> dict[str, bytes]:
    """A build's objects by name, but those of the host's own programs.

    Those for real mode have the names of the folders in debug information (arch/x86/realmode/rm/
    and arch/x86/boot/ are compiled without -fmacro-prefix-map), which is left out.
    """
    folder = cache.build_folder(slot, "tiny", "x86_64")
    found = {}
    for path in sorted(folder.rglob("*.o")):
        name = str(path.relative_to(folder))
        if not name.startswith(("tools/", "scripts/")):
            plain = cache.folder / "plain.o"
            subprocess.run(["objcopy", "--strip-debug", path, plain], check=True)
            found[name] = plain.read_bytes()
    return found


def edit(tree: Path) -> None:
    """Change a line of C and a header that few see; add an object, and a header before another."""
    with (tree / "mm/memory.c").open("a") as file:
        file.write("const unsigned long lab_first_build = 1UL;\n")
    with (tree / "mm/internal.h").open("a") as file:
        file.write("#define LAB_FIRST_BUILD 1\n")
    (tree / "mm/lab.c").write_text('#include "lab.h"\nint lab_more = LAB;\n')
    (tree / "mm/lab.h").write_text("#define LAB 7\n")
    with (tree / "mm/Makefile").open("a") as file:
        file.write("obj-y += lab.o\n")
    # Found first from now on.  What was made with the other one, kernel/sys.o among it, does not
    # name this one, and has another constant in it.
    name = "include/linux/prctl.h"
    assert not (tree / name).exists()
    text = (tree / "include/uapi/linux/prctl.h").read_text()
    (tree / name).write_text(f"{text}#undef PR_SET_NAME\n#define PR_SET_NAME 0x4c4142\n")


def test_a_seeded_build_is_the_build_from_nothing(
    a_cache: Callable[[str], Cache], fragments: Path, tmp_path: Path
) -> None:
    near, far = a_cache("near"), a_cache("far")
    told: list[str] = []
    base, built = build(BASE, near, fragments, told)
    assert told[0].startswith("first build of this source: everything is compiled")
    everything = built.steps
    before = built.image_sha256

    tree = tmp_path / "linux"
    tree.mkdir()
    store.git(
        near, "--work-tree", tree, "checkout", "-f", base.tree.tree, "--", ".",
        index=tmp_path / "index", deadline=600,
    )  # fmt: skip
    edit(tree)
    mine, built = build(f"path:{tree}", near, fragments, told)
    assert built.made_in[0] == base.slot != mine.slot
    assert "from the build in debian-6.12: " in told[1]
    assert built.steps < everything / 2, told
    seeded = objects(near, base.slot)

    mine, scratch = build(f"path:{tree}", far, fragments, told)
    assert scratch.made_in[0] == mine.slot
    assert scratch.steps > everything * 0.9
    whole = objects(far, mine.slot)
    assert seeded.keys() == whole.keys()
    assert [name for name in whole if seeded[name] != whole[name]] == []
    assert built.vmlinux is not None
    assert scratch.vmlinux is not None
    assert built.vmlinux.read_bytes() == scratch.vmlinux.read_bytes()
    assert built.image_sha256 == scratch.image_sha256

    # What the base's next build pays for having lent its work tree, and that it is itself again.
    for path in near.builds.iterdir():
        if path.is_dir():
            path.rename(near.folder / path.name)
    _, again = build(BASE, near, fragments, told)
    assert again.made_in[0] == base.slot
    assert again.steps < everything / 2, told
    assert again.image_sha256 == before
