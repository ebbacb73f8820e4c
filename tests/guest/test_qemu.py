# SPDX-License-Identifier: GPL-2.0-only
"""QEMU's command line, against golden files; LAB_UPDATE_GOLDEN=1 writes them anew.

One of them is whole, and the others tell how they differ from it: what all guests get stands in one
file.
"""

from __future__ import annotations

import difflib
import itertools
import os
import re
import shlex
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from orchestrator import HOME
from orchestrator.guest import qemu
from orchestrator.guest.qemu import GuestFiles, boot_arguments, command_line
from orchestrator.model.arch import ARCHES
from orchestrator.model.errors import HostError
from orchestrator.model.spec import ShapeSpec

GOLDEN = HOME / "tests" / "data" / "qemu"
WHOLE = "x86_64-tcg-plain"
X86 = ARCHES["x86_64"].qemu
FILES = GuestFiles(
    image=Path("/cache/builds/0123/image"),
    root=Path("/cache/roots/root.ext2"),
    folder=Path("/cache/tmp/guest"),
    console=Path("/reports/run/cells/cell/console.log"),
)
SHAPES = {
    "plain": ShapeSpec("plain"),
    "numa": ShapeSpec("numa", cpus=4, memory_mib=1536, nodes=2),
    "swap": ShapeSpec("swap", swap_disk_mib=512, boot_args=("transparent_hugepage=always",)),
}


def render(argv: list[str]) -> str:
    """An option with its value a line, and each of the kernel's arguments."""
    lines: list[str] = []
    for word in argv:
        if lines and lines[-1] == "-append":
            lines += [f"  {argument}" for argument in word.split(" ")]
        elif (
            lines
            and lines[-1].startswith("-")
            and " " not in lines[-1]
            and not word.startswith("-")
        ):
            lines[-1] += f" {shlex.quote(word)}"
        else:
            lines.append(shlex.quote(word))
    return "\n".join(lines) + "\n"


def rendered(name: str) -> str:
    arch, accelerator, shape = name.split("-")
    return render(command_line(ARCHES[arch], SHAPES[shape], accelerator, FILES))


def differences(old: str, new: str) -> str:
    """What goes (``-``) and comes (``+``), below the option or argument after which it stands."""
    before, after = old.splitlines(), new.splitlines()
    lines: list[str] = []
    for kind, i, j, k, m in difflib.SequenceMatcher(
        None, before, after, autojunk=False
    ).get_opcodes():
        if kind != "equal":
            lines.append(f"after {re.split('[ =]', before[i - 1].strip())[0] if i else 'nothing'}")
            lines += [f"- {line}" for line in before[i:j]] + [f"+ {line}" for line in after[k:m]]
    return "\n".join(lines) + "\n"


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("accelerator", ["tcg", "kvm"])
@pytest.mark.parametrize("arch", ARCHES)
def test_golden(arch: str, accelerator: str, shape: str) -> None:
    name = f"{arch}-{accelerator}-{shape}"
    text = rendered(name)
    if name != WHOLE:
        text = differences(rendered(WHOLE), text)
    path = GOLDEN / f"{name}.txt"
    if os.environ.get("LAB_UPDATE_GOLDEN"):
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    assert text == path.read_text()


def test_differences_tell_what_goes_and_what_comes_and_where() -> None:
    old, new = "-a 1\n-append\n  x=1\n  y\n", "-a 1\n-b\n-append\n  x=2\n  y\n  z\n"
    assert differences(old, new) == (
        "after -a\n+ -b\nafter -append\n-   x=1\n+   x=2\nafter y\n+   z\n"
    )


@pytest.mark.parametrize("arch", ARCHES.values(), ids=list(ARCHES))
@pytest.mark.parametrize("shape", SHAPES.values(), ids=list(SHAPES))
def test_what_every_guest_is(arch: qemu.Arch, shape: ShapeSpec) -> None:
    argv = command_line(arch, shape, "tcg", FILES)
    options = dict(itertools.pairwise(argv))
    # It reaches nothing, and only this host reaches it.
    assert "restrict=on" in options["-netdev"]
    assert "hostfwd=tcp:127.0.0.1:0-" in options["-netdev"]
    # It ends in a pause, never in a reboot that hides a panic.
    assert options["-action"] == "reboot=shutdown,shutdown=pause"
    assert "-nodefaults" in argv
    drives = [argv[n + 1] for n, word in enumerate(argv) if word == "-drive"]
    assert [drive for drive in drives if "readonly=on" not in drive] == [
        drive for drive in drives if "id=swap" in drive
    ]


def test_boot_arguments_in_order() -> None:
    arch = replace(
        ARCHES["x86_64"],
        console="ttyX",
        boot_args=("arch=1",),
        numa_boot_args=("numa=fake={nodes}",),
    )
    shape = ShapeSpec("s", nodes=3, boot_args=("panic=5", "last=1"))
    words = boot_arguments(arch, shape).split()
    assert words[0] == "console=ttyX"
    assert words[-4:] == ["arch=1", "numa=fake=3", "panic=5", "last=1"]
    # Of several the kernel takes the last: the shape's own win.
    assert words.index("panic=-1") < words.index("panic=5")
    assert "numa=fake=3" not in boot_arguments(arch, replace(shape, nodes=1))


def test_an_emulated_guests_watchdogs_wait_longer() -> None:
    shape = ShapeSpec("s", boot_args=("watchdog_thresh=10",))
    words = boot_arguments(ARCHES["x86_64"], shape, "tcg").split()
    assert "rcupdate.rcu_cpu_stall_timeout=120" in words
    assert [word for word in words if word.startswith("watchdog_thresh=")] == [
        "watchdog_thresh=60", "watchdog_thresh=10",
    ]  # fmt: skip
    assert "watchdog" not in boot_arguments(ARCHES["x86_64"], ShapeSpec("s"), "kvm")


def test_a_deep_cache_makes_no_socket_path_too_long() -> None:
    files = replace(FILES, folder=Path("/" + "deep/" * 40))
    argv = command_line(ARCHES["x86_64"], ShapeSpec("s"), "tcg", files)
    assert argv[argv.index("-qmp") + 1].startswith("unix:qmp.sock,")
    assert ",path=console.sock," in argv[argv.index("-chardev") + 1]


@pytest.mark.skipif(not shutil.which(X86), reason=f"no {X86}")
def test_the_monitor_is_reached_in_a_deep_folder(tmp_path: Path) -> None:
    folder = tmp_path.joinpath(*["deep" * 10] * 4)
    folder.mkdir(parents=True)
    argv = [X86, "-nodefaults", "-display", "none", "-machine", "none"]
    with qemu.running([*argv, "-qmp", "unix:qmp.sock,server=on,wait=off"], folder) as machine:
        assert machine.alive()
        assert machine.ask("query-status")["status"]


def test_the_shapes_machine_wins() -> None:
    shape = ShapeSpec("s", machine="q35")
    for accelerator in ("tcg", "kvm"):
        argv = command_line(ARCHES["x86_64"], shape, accelerator, FILES)
        assert argv[argv.index("-machine") + 1] == "q35"


@pytest.mark.parametrize(
    ("memory", "nodes", "cpus"), [(1024, 2, 2), (1025, 2, 1), (1000, 3, 2), (4096, 4, 16)]
)
def test_nodes_share_all_memory_and_cpus(memory: int, nodes: int, cpus: int) -> None:
    shape = ShapeSpec("s", memory_mib=memory, nodes=nodes, cpus=cpus)
    argv = command_line(ARCHES["arm64"], shape, "tcg", FILES)
    sizes = [
        int(word.rpartition("size=")[2].removesuffix("M"))
        for word in argv
        if word.startswith("memory-backend-ram")
    ]
    assert len(sizes) == nodes
    assert sum(sizes) == memory
    owned: list[int] = []
    for word in argv:
        if word.startswith("node,") and "cpus=" in word:
            first, last = map(int, word.rpartition("cpus=")[2].split("-"))
            owned += range(first, last + 1)
    assert owned == list(range(cpus))


def test_commas_in_paths_are_doubled() -> None:
    files = GuestFiles(Path("/a,b/image"), Path("/a,b/root"), Path("/a,b/tmp"), Path("/r,1/log"))
    argv = command_line(ARCHES["x86_64"], ShapeSpec("s", swap_disk_mib=1), "tcg", files)
    assert argv[argv.index("-kernel") + 1] == "/a,b/image"  # a value of its own
    text = " ".join(word for word in argv if word != "/a,b/image")
    for name in ("root", "tmp/seed.tar", "tmp/swap.raw"):
        assert f"/a,,b/{name}" in text
    assert "logfile=/r,,1/log" in text


# ---------------------------------------------------------------- the process, played by a shell


def test_qemu_that_does_not_start(tmp_path: Path) -> None:
    argv = ["sh", "-c", "echo 'qemu: -machine nonsense: unsupported' >&2; exit 1"]
    with (
        pytest.raises(HostError, match="-machine nonsense: unsupported"),
        qemu.running(argv, tmp_path),
    ):
        pass


def test_qemu_that_never_offers_its_monitor(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(qemu, "START_DEADLINE", 0.3)
    with pytest.raises(HostError, match="it said nothing"), qemu.running(["sleep", "60"], tmp_path):
        pass
