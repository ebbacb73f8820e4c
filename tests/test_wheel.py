# SPDX-License-Identifier: GPL-2.0-only
"""A wheel holds all that the lab needs: built, installed into a clean environment, and used."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
import tomllib
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from plan_files import make_kernel_tree

from orchestrator import HOME

Lab = Callable[..., str]


def listed(*folders: str) -> set[str]:
    """The files below folders that git knows."""
    done = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard", *folders],
        cwd=HOME,
        capture_output=True,
        text=True,
        check=True,
    )
    return set(done.stdout.splitlines())


def test_each_package_is_in_the_project_file() -> None:
    setup = tomllib.loads((HOME / "pyproject.toml").read_text())["tool"]["setuptools"]
    rooms = {".".join(p.parent.relative_to(HOME).parts)
             for p in (HOME / "orchestrator").rglob("__init__.py")}  # fmt: skip
    assert set(setup["packages"]) == rooms | {"orchestrator.home"}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel of a copy of what git knows: building leaves nothing in the tree."""
    folder = tmp_path_factory.mktemp("wheel")
    for name in listed():
        if (HOME / name).is_file():
            (folder / "lab" / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / "lab" / name).write_bytes((HOME / name).read_bytes())
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    build = ["wheel", "--no-deps", "--no-build-isolation", "--no-index", "-w", folder]
    subprocess.run([*pip, *build, folder / "lab"], check=True, timeout=120)
    (found,) = folder.glob("*.whl")
    return found


@pytest.fixture(scope="module")
def lab(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Lab:
    """Run the installed ``lab WORDS`` in a folder; what it said.  The environment is its own.

    Only the dependencies are those of this one, and its way to this tree (a hook of setuptools)
    is left out: a .pth file in a folder that another one names is not read.
    """
    clean = tmp_path_factory.mktemp("clean")
    run = {"check": True, "timeout": 120}
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", clean / "venv"], **run)
    python = clean / "venv" / "bin" / "python"
    site = Path(subprocess.check_output(
        [python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"], text=True
    ).strip())  # fmt: skip
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    how = ["--python", python, "install", "--no-deps", "--no-index"]
    subprocess.run([*pip, *how, wheel], **run)
    (site / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    home = clean / "home"
    home.mkdir()
    env = {
        "PATH": os.environ["PATH"], "HOME": str(home), "LAB_CACHE": str(clean / "cache"),
    }  # fmt: skip

    def command(folder: Path, *words: str, status: int | None = 0) -> str:
        argv = [clean / "venv" / "bin" / "lab", *words]
        done = subprocess.run(
            argv, cwd=folder, env=env, capture_output=True, text=True, timeout=60, check=False
        )
        said = done.stdout + done.stderr
        # A tool that the host lacks is no matter of the wheel's.
        assert done.returncode in ((0, 3) if status is None else (status,)), said
        for bad in ("no file", "no folder", "Traceback", f"{HOME}/"):
            assert bad not in said, said
        return said

    return command


@pytest.mark.slow
def test_the_wheel_holds_the_tree(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    assert listed("orchestrator") <= names
    brought = listed("lab.yaml", "guest-tests", "kernel-configs", "patches", "docs", "README.md")
    assert {f"orchestrator/home/{name}" for name in brought} <= names
    assert not any(name.endswith(".pyc") for name in names)
    assert [name for name in names if name.endswith("/data/share/man/man1/lab.1")]


@pytest.mark.slow
def test_a_new_lab_yaml_is_all_it_takes(lab: Lab, tmp_path: Path) -> None:
    assert "`lab init` writes one" in lab(tmp_path, "plan", status=2)
    lab(tmp_path, "init")
    assert "stable/default/x86_64/small" in lab(tmp_path, "plan")
    assert "uffd-move/basic" in lab(tmp_path, "list")
    said = lab(tmp_path, "doctor", "--json", status=None)
    assert f'"{tmp_path}/lab.yaml"' in said
    assert [path.name for path in tmp_path.iterdir()] == ["lab.yaml"]
    # What a message points to is there.
    (tmp_path / "lab.yaml").write_text("version: 2\n")
    page = lab(tmp_path, "plan", status=2).split()
    (told,) = [Path(word) for word in page if word.endswith("lab-yaml.md")]
    assert told.is_file()


@pytest.mark.slow
def test_a_kernel_tree_is_all_it_takes(lab: Lab, tmp_path: Path) -> None:
    tree = tmp_path / "linux"
    make_kernel_tree(tree)
    (tree / "mm").mkdir()
    before = sorted(tree.rglob("*"))
    for folder, words in ((tree, ()), (tree / "mm", ()), (tree, ("--source", "../linux"))):
        said = lab(folder, "plan", *words)
        assert "cli/default/x86_64/small" in said
        assert f"path:{tree}" in said
    # Another kernel of the lab's own lab.yaml, with a series of the lab's.
    broken = "v6.12-rss-drift"
    assert f"{broken}/default/x86_64/small" in lab(tree, "plan", "--kernel", broken)
    assert "uffd-move/basic" in lab(tree / "mm", "list")
    assert "no run yet" in lab(tree, "history")
    assert f"for the kernel tree {tree}" in lab(tree, "doctor", status=None)
    assert sorted(tree.rglob("*")) == before
