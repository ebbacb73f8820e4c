# SPDX-License-Identifier: GPL-2.0-only
"""The main job on real kernels and guests: the good series, the broken one, and hostile guests."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from labrun import HOME, LAB, Ran, lab_run, lab_started
from lxml import etree

pytestmark = pytest.mark.guest
FAULTS = Path(__file__).parent / "faults"


@pytest.fixture(scope="module")
def smoke(tmp_path_factory: pytest.TempPathFactory) -> Ran:
    """``lab run -p smoke``: what the README's first command does."""
    return lab_run(tmp_path_factory.mktemp("smoke") / "run", "-p", "smoke")


def test_smoke_passes_on_both_architectures(smoke: Ran) -> None:
    assert smoke.status == 0, smoke.output
    cells = {cell["arch"]: cell for cell in smoke.results["cells"]}
    assert set(cells) == {"x86_64", "arm64"}
    assert {cell["verdict"] for cell in cells.values()} == {"pass"}, smoke.bad()
    for cell in cells.values():
        assert 0 < cell["boot_seconds"] < 60
        assert cell["accelerator"] in ("kvm", "tcg")


def test_smoke_has_real_counters(smoke: Ran) -> None:
    """Every architecture shows an RssAnon that rose and fell, beside a page walk that agrees."""
    for arch in ("x86_64", "arm64"):
        counters = [
            counter
            for case in smoke.cases(f"/{arch}/").values()
            for counter in case["counters"]
            if counter["name"] == "RssAnon"
        ]
        assert max(counter["peak"] for counter in counters) > 16
        walked = [counter for counter in counters if counter["walk"] is not None]
        assert walked
        assert all(abs(c["at_walk"] - c["walk"]) <= 64 for c in walked)


def test_smoke_checks_the_running_configuration(smoke: Ran) -> None:
    found = smoke.cases(":config:config")
    assert len(found) == 2
    assert all(case["verdict"] == "pass" for case in found.values())


def test_smoke_reports(smoke: Ran) -> None:
    tree = etree.parse(smoke.folder / "junit.xml")
    assert tree.getroot().tag == "testsuites"
    assert not tree.xpath("//failure | //error")
    assert int(tree.xpath("count(//testcase)")) >= 20
    page = (smoke.folder / "index.html").read_text()
    assert "x86_64" in page
    assert "arm64" in page
    assert "RssAnon" in page
    assert "http://" not in page.replace("http://www.w3.org", "")
    for cell in smoke.results["cells"]:
        assert "Linux version 6.12" in (smoke.folder / cell["console_log"]).read_text()
        assert "CONFIG_USERFAULTFD=y" in (smoke.folder / cell["kernel_config"]).read_text()


def test_good_series_passes(tmp_path: Path) -> None:
    ran = lab_run(
        tmp_path / "run", "--series", str(HOME / "patches/move-stats"), "--arch", "x86_64"
    )
    assert ran.status == 0, ran.output
    (kernel,) = ran.results["kernels"]
    assert kernel["name"] == "cli"
    assert all(patch["applied"] for patch in kernel["series"])
    assert len(kernel["series"]) >= 2
    assert kernel["series_digest"]


def test_broken_series_fails_with_its_hit_and_counter(tmp_path: Path) -> None:
    ran = lab_run(
        tmp_path / "run", "--series", str(HOME / "patches/rss-drift"), "--arch", "x86_64",
        "--baseline", "v6.12",
    )  # fmt: skip
    assert ran.status == 1, ran.output
    cases = ran.cases("cli/default/x86_64/small:uffd-move/swap")
    hits = [hit["title"] for case in cases.values() for hit in case["hits"]]
    assert "BUG: Bad rss-counter state type:MM_ANONPAGES" in hits
    counters = [c for case in cases.values() for c in case["counters"] if c["name"] == "RssAnon"]
    assert any(c["at_walk"] - c["walk"] > 0 for c in counters if c["walk"] is not None)
    base = ran.cases("v6.12/default/x86_64")
    assert base
    assert all(case["verdict"] in ("pass", "skip") for case in base.values()), ran.bad()
    page = (ran.folder / "index.html").read_text()
    assert "Bad rss-counter state" in page
    assert "regressed" in page
    failures = etree.parse(ran.folder / "junit.xml").xpath("//failure")
    text = "".join(failure.text or "" for failure in failures)
    assert "Bad rss-counter state" in text
    assert "RssAnon" in text


def test_known_bad_kernel_is_a_check_of_the_lab(tmp_path: Path) -> None:
    """lab.yaml expects the drift: met is a pass, and the run exits 0."""
    ran = lab_run(tmp_path / "run", "--kernel", "v6.12-rss-drift", "--arch", "x86_64")
    assert ran.status == 0, ran.output
    met = [case for case in ran.cases().values() if case["expected"]]
    assert met
    assert any("Bad rss-counter" in case["expected"] for case in met)


def test_series_that_does_not_apply(tmp_path: Path) -> None:
    good = (HOME / "patches/move-stats").glob("0001*.patch")
    text = next(iter(good)).read_text()
    hunk = text.index("\n@@ ")
    context = re.search(r"^ .*[A-Za-z].*$", text[text.index("\n", hunk + 1) :], re.MULTILINE)
    assert context
    marker = context[0]
    bad = tmp_path / "bad.patch"
    bad.write_text(text[:hunk] + text[hunk:].replace(marker, f"{marker} /* nowhere */", 1))
    ran = lab_run(tmp_path / "run", "--series", str(bad), "--arch", "x86_64")
    assert ran.status == 1, ran.output
    failure = ran.results["kernels"][0]["failure"]
    assert failure["n"] == 1
    assert failure["hunk"]
    assert failure["context"]
    assert "userfaultfd" in failure["file"]


def test_series_that_does_not_compile(tmp_path: Path) -> None:
    patch = tmp_path / "broken.patch"
    patch.write_text(
        "Subject: [PATCH] mm: does not compile\nFrom: A <a@example.org>\n\n---\n"
        "--- a/mm/ksm.c\n+++ b/mm/ksm.c\n@@ -1,3 +1,4 @@\n"
        " // SPDX-License-Identifier: GPL-2.0-only\n+int broken(void) { return nothing_here; }\n"
        " /*\n  * Memory merging support.\n"
    )
    ran = lab_run(tmp_path / "run", "--series", str(patch), "--arch", "x86_64")
    assert ran.status == 1, ran.output
    (built,) = ran.results["builds"]
    assert built["verdict"] == "fail"
    assert built["errors"][0]["file"] == "mm/ksm.c"
    assert built["errors"][0]["line"] == 2
    assert "mm/ksm.c:2" in (ran.folder / "index.html").read_text()


def test_hostile_guests_cost_one_workload_each(tmp_path: Path) -> None:
    began = time.monotonic()
    ran = lab_run(tmp_path / "run", cwd=FAULTS)
    assert ran.status in (1, 3), ran.output

    def verdicts(name: str) -> dict[str, str]:
        return {c["case"]: c["verdict"] for c in ran.cases(f":faults/{name}:").values()}

    for name in ("a-good", "c-good", "e-good", "h-warn"):
        assert verdicts(name)["runs"] == "pass", ran.output
        assert set(verdicts(name).values()) == {"pass"}, ran.output
    panic = ran.cases(":faults/b-panic:")
    assert any("sysrq triggered crash" in h["title"] for c in panic.values() for h in c["hits"])
    assert "fail" in verdicts("b-panic").values()
    assert verdicts("d-reset").get("reset") == "fail", ran.output
    assert verdicts("f-hang").get("hang") == "fail", ran.output
    assert verdicts("g-truncated")["ktap"] == "error", ran.output
    assert time.monotonic() - began < 400


def test_sigkill_leaves_nothing(tmp_path: Path) -> None:
    """No guest outlives a killed lab by more than 2 seconds, and what it left is cleaned up."""
    argv = ("run", "--plain", "--out", tmp_path / "run", "--arch", "x86_64")
    with lab_started(*argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as child:
        until = time.monotonic() + 900
        while not _guests(child.pid) and time.monotonic() < until:
            assert child.poll() is None, "the run ended before a guest was seen"
            time.sleep(0.1)
        guests = _guests(child.pid)
        assert guests
        words = Path(f"/proc/{guests[0]}/cmdline").read_text().split("\0")
        (seed,) = [word for word in words if "seed.tar" in word]
        left = Path(seed.removeprefix("file=").partition(",")[0]).parent
        assert left.is_dir()
        _kill_and_see_gone(child, lambda: [pid for pid in guests if _alive(pid)])
    # The next command that uses the cache takes away what lies about in it.
    again = [str(LAB), "build", "--plain", "--kernel", "v6.12", "--arch", "x86_64"]
    assert subprocess.run(again, cwd=HOME, capture_output=True, timeout=900).returncode == 0
    assert not left.exists()


def test_sigkill_ends_the_compilers(tmp_path: Path) -> None:
    patch = tmp_path / "new.patch"
    patch.write_text(
        "Subject: [PATCH] mm: something new\nFrom: A <a@example.org>\n\n---\n"
        "--- a/mm/ksm.c\n+++ b/mm/ksm.c\n@@ -1,3 +1,4 @@\n"
        " // SPDX-License-Identifier: GPL-2.0-only\n"
        f"+// {time.time_ns()}\n"
        " /*\n  * Memory merging support.\n"
    )
    argv = ("build", "--plain", "--series", patch, "--arch", "x86_64")
    with lab_started(*argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as child:
        groups: set[int] = set()
        until = time.monotonic() + 900
        while not groups and time.monotonic() < until:
            assert child.poll() is None, "the build ended before a compiler was seen"
            table = _processes()
            if any(name == "cc1" and child.pid in _ancestors(pid, table)
                   for pid, (name, _, _) in table.items()):  # fmt: skip
                groups = {
                    group for pid, (name, _, group) in table.items()
                    if name == "make" and child.pid in _ancestors(pid, table)
                }  # fmt: skip
            time.sleep(0.02)
        assert groups

        def rest() -> list[int]:
            table = _processes()
            return [p for p, (_, _, group) in table.items() if group in groups and _alive(p)]

        assert rest()
        _kill_and_see_gone(child, rest)


def test_interrupt_ends_in_good_order_and_resumes(tmp_path: Path) -> None:
    argv = ("run", "--plain", "--out", tmp_path / "run", "--arch", "x86_64")
    with lab_started(*argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as child:
        until = time.monotonic() + 900
        while not _guests(child.pid) and time.monotonic() < until:
            assert child.poll() is None
            time.sleep(0.1)
        child.send_signal(signal.SIGINT)
        output, _ = child.communicate(timeout=30)
    assert child.returncode == 130, output.decode()
    assert b"Traceback" not in output
    assert (tmp_path / "run/results.json").exists()
    assert (tmp_path / "run/index.html").exists()
    again = [str(LAB), "run", "--plain", "--resume", str(tmp_path / "run")]
    done = subprocess.run(again, cwd=HOME, capture_output=True, text=True, timeout=900)
    assert done.returncode == 0, done.stdout + done.stderr
    (cell,) = json.loads((tmp_path / "run/results.json").read_text())["cells"]
    assert cell["arch"] == "x86_64"
    assert cell["verdict"] == "pass"


def _guests(parent: int) -> list[int]:
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            fields = (entry / "stat").read_text().rpartition(")")[2].split()
            name = (entry / "comm").read_text()
        except OSError:
            continue
        if int(fields[1]) == parent and name.startswith("qemu"):
            found.append(int(entry.name))
    return found


def _kill_and_see_gone(child: subprocess.Popen[bytes], rest: Callable[[], list[int]]) -> None:
    """Kill the lab as nothing can be ready for; nothing of it may be there 2 seconds later."""
    os.kill(child.pid, signal.SIGKILL)
    child.wait()
    until = time.monotonic() + 2.0
    while rest() and time.monotonic() < until:
        time.sleep(0.05)
    assert not rest()


def _processes() -> dict[int, tuple[str, int, int]]:
    """Every process: name, parent, process group."""
    found = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                before, _, after = (entry / "stat").read_text().rpartition(")")
            except OSError:
                continue
            fields = after.split()
            found[int(entry.name)] = (before.partition("(")[2], int(fields[1]), int(fields[2]))
    return found


def _ancestors(pid: int, table: dict[int, tuple[str, int, int]]) -> list[int]:
    found: list[int] = []
    while pid in table:
        pid = table[pid][1]
        found.append(pid)
    return found


def _alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
