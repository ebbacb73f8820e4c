# SPDX-License-Identifier: GPL-2.0-only
"""The guest workloads: they compile for every architecture and their manifests are consistent."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import ModuleType

import pytest

from orchestrator import HOME
from orchestrator.evidence import counters, ktap, readings
from orchestrator.model.arch import ARCHES
from orchestrator.model.names import Verdict
from orchestrator.model.spec import WorkloadSpec
from orchestrator.plan.lab_yaml import load_config
from orchestrator.plan.manifest import read_workloads
from orchestrator.plan.problems import Problems
from orchestrator.workload.programs import TOOLS

GUEST_TESTS = HOME / "guest-tests"
LIB = GUEST_TESTS / "lib"
AGENT = GUEST_TESTS / "agent"
SHARED = sorted(LIB.glob("*.c"))
FLAGS = ["-std=gnu11", "-O2", "-static", "-pthread", "-Wall", "-Wextra", "-Werror"]
C_PROGRAMS = sorted(p for p in GUEST_TESTS.glob("*/*.c") if p.parent not in (LIB, AGENT))
SOURCES = sorted(path for path in GUEST_TESTS.rglob("*") if path.suffix in (".c", ".h", ".py"))
FAMILIES = {"compactor", "explore", "kunit", "ledger", "mm", "race", "uffd-move"}


def _workloads() -> tuple[WorkloadSpec, ...]:
    problems = Problems()
    found, complete = read_workloads((("guest-tests", GUEST_TESTS),), problems)
    problems.raise_if_any(HOME / "lab.yaml")
    assert complete
    # The kernel's own tests are no programs of ours; tests/workload has what concerns them.
    return tuple(one for one in found if one.selftests is None and one.host is None)


def _compile(compiler: str, sources: list[Path], target: Path, *more: str) -> str:
    command = [compiler, *FLAGS, *more, "-I", str(LIB), "-o", str(target), *map(str, sources)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    return done.stderr


@pytest.fixture(scope="session")
def native(compiled: Callable[..., dict[str, Path]]) -> dict[str, Path]:
    """The sampler and one workload, for the machine the tests run on."""
    return compiled(GUEST_TESTS / "ledger" / "anon.c")


@pytest.mark.slow
@pytest.mark.parametrize("arch", sorted(ARCHES))
def test_every_c_program_compiles_without_a_warning(arch: str, tmp_path: Path) -> None:
    compiler = ARCHES[arch].gcc
    if not shutil.which(compiler):
        pytest.skip(f"no {compiler}")
    objects = {p: tmp_path / f"{p.parent.name}-{p.stem}.o" for p in [*SHARED, *C_PROGRAMS]}
    with ThreadPoolExecutor(2) as pool:
        said = list(pool.map(lambda p: _compile(compiler, [p], objects[p], "-c"), objects))
    assert [text for text in said if text] == []
    shared = [objects[p] for p in SHARED]
    for name in ("basic", "swap"):  # between them they use all that is shared
        program = objects[GUEST_TESTS / "uffd-move" / f"{name}.c"]
        assert _compile(compiler, [program, *shared], tmp_path / name) == ""
    assert {path.stem for path in AGENT.glob("*.c")} == set(TOOLS)
    for tool in TOOLS:
        assert _compile(compiler, [AGENT / f"{tool}.c"], tmp_path / tool) == ""


def test_manifests_are_valid_and_cover_every_program() -> None:
    found = _workloads()
    assert {w.family for w in found} == FAMILIES
    used = {w.folder / w.program for w in found}
    assert used == {p for p in SOURCES if p.parent not in (LIB, AGENT) and p.suffix != ".h"}


@pytest.mark.parametrize("workload", _workloads(), ids=lambda w: w.name)
def test_manifest_entry_is_consistent(workload: WorkloadSpec) -> None:
    text = (workload.folder / workload.program).read_text()
    assert workload.description
    assert len(workload.description) <= 100
    # A suite of the kernel's takes what it takes.
    assert 5 <= workload.timeout <= (240 if workload.kunit else 60)
    # Charges of a control group are not yet shown to come out the same each time, nor the model
    # of explore to know all that swap and soft-dirty bits do.
    varies = workload.family in ("race", "explore") or workload.name == "mm/memcg"
    assert workload.deterministic != varies
    assert set(workload.invariants) <= counters.INVARIANTS
    if workload.family == "uffd-move":
        assert workload.exercises == ("uffd-move",)
    # A program that could skip for a reason says so among its needs.
    uses_swap = "mem_why_no_swap())" in text and "kind" not in text and "!mem_why" not in text
    assert uses_swap <= ("swap" in workload.needs)
    if re.search(r"(mem_map|pair)_huge\(", text) and "kind" not in text:
        # Some take huge pages only where they are told to.
        assert ("thp" in workload.needs) or ('"huge"' in text and "huge" not in workload.args)
    # Invariants over ledger lines need ledger lines, and those over moves pairs of them.
    moves_in_pairs = re.search(r"\bmoved_(all|expect)\(", text) is not None
    prints_ledger = (
        moves_in_pairs or re.search(r"(rss_(ledger|check)|race_run)\(", text) is not None
    )
    assert ("counter-equals-walk" in workload.invariants) <= prints_ledger
    if "move-conserves" in workload.invariants:
        # What comes before may be put there by the program.
        before = set(re.findall(r'"([\w%-]*)-before-move"', text))
        after = set(re.findall(r'"([\w%-]*)-after-move"', text))
        assert before or moves_in_pairs, "no pair of ledger lines around a move"
        assert before == after


@pytest.mark.parametrize("path", SOURCES, ids=lambda p: str(p.relative_to(GUEST_TESTS)))
def test_source_has_licence_and_header(path: Path) -> None:
    lines = path.read_text().splitlines()
    head = {".c": "// ", ".h": "/* ", ".py": "# "}[path.suffix]
    assert lines[0].startswith(head + "SPDX-License-Identifier: GPL-2.0-only")
    assert lines[1].startswith({".py": '"""'}.get(path.suffix, "/*")), "no comment what it is for"
    assert len(lines) < 430
    if path.parent.name == "uffd-move" or (path.parent.name == "mm" and path.suffix == ".c"):
        assert "v6.12" in path.read_text(), "what is asserted has no source"


@pytest.mark.parametrize("path", C_PROGRAMS, ids=lambda p: f"{p.parent.name}/{p.stem}")
def test_case_names_are_kebab_and_unique(path: Path) -> None:
    names = re.findall(r'^\t\{ "([^"]+)", \w+ \},$', path.read_text(), re.M)
    assert names
    assert len(names) == len(set(names))
    assert all(re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", name) for name in names)


def test_no_page_size_is_assumed() -> None:
    comment = r"/\*.*?\*/|//[^\n]*|\"\"\".*?\"\"\"|#[^\n]*"
    for path in SOURCES:
        code = re.sub(comment, "", path.read_text(), flags=re.DOTALL)
        code = re.sub(r"\[\d+\]", "", code)  # the size of a buffer
        assert not re.search(r"\b(4096|16384|65536|2097152|0x\d0{3,5}|PAGE_SIZE)\b", code), path


def test_abi_is_the_same_in_c_and_python() -> None:
    header = (LIB / "uffd_abi.h").read_text()
    module = _load("uffd")
    for c_name, value in {
        "UFFDIO_NR_MOVE": module.NR_MOVE,
        "UFFDIO_NR_COPY": module.NR_COPY,
    }.items():
        match = re.search(rf"#define {c_name} (0x[0-9A-Fa-f]+)", header)
        assert match is not None
        assert int(match[1], 16) == value
    # _IOWR(0xAA, 0x05, 40 bytes) of include/uapi/asm-generic/ioctl.h.
    assert module.UFFDIO_MOVE == 0xC028AA05
    assert module.UFFDIO_COPY == 0xC028AA03
    assert module.UFFDIO_API == 0xC018AA3F
    assert module.UFFDIO_REGISTER == 0xC020AA00


def _load(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"guest_{name}", LIB / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


# ---------------------------------------------------------------- what the programs print


def test_python_ktap(capfd: pytest.CaptureFixture[str]) -> None:
    module = _load("ktap")

    def skips() -> None:
        raise module.Skip("no such thing")

    def fails() -> None:
        module.check_equal(1, 2, "pages")

    def crashes() -> None:
        raise ValueError("two\nlines")

    cases = [("good", lambda: None), ("not-here", skips), ("bad", fails), ("broken", crashes)]
    assert module.run(cases) == module.EXIT_FAIL
    report = ktap.parse(capfd.readouterr().out)
    assert report.problems == ()
    assert [(c.name, c.verdict) for c in report.cases] == [
        ("good", Verdict.PASS),
        ("not-here", Verdict.SKIP),
        ("bad", Verdict.FAIL),
        ("broken", Verdict.FAIL),
    ]
    assert report.cases[1].reason == "no such thing"
    assert re.search(r"test_guest_tests\.py:\d+: pages: got 1, expected 2",
                     report.cases[2].diagnostics[0])  # fmt: skip
    assert module.run(cases[1:2]) == module.EXIT_SKIP
    assert module.run(cases[:1], "all of it") == module.EXIT_SKIP
    assert module.run(cases[:2]) == module.EXIT_OK


def _sampler(
    native: dict[str, Path], *words: str, stdin: int = subprocess.DEVNULL
) -> tuple[int, str, str]:
    done = subprocess.run(
        [native["sampler"], "-i", "20", *words],
        stdin=stdin,
        capture_output=True,
        text=True,
        errors="replace",
        timeout=120,  # a hang, and not a host with ten other things to do
        check=False,
    )
    return done.returncode, done.stdout, done.stderr


def test_sampler_records_a_program(native: dict[str, Path]) -> None:
    script = "echo out; echo err >&2; sleep 0.15; printf part >&2; exit 3"
    status, out, err = _sampler(native, "--", "sh", "-c", script)
    log = readings.parse_samples(err)
    assert (status, out) == (3, "out\n")
    assert "stderr: err\n" in err
    assert "stderr: part\n" in err
    assert log.problems == ()
    assert (log.exit_status, log.signal, log.ended) == (3, 0, True)
    assert 0.1 < log.seconds < 10
    assert log.page_size == os.sysconf("SC_PAGESIZE")
    assert log.samples[0].values["RssAnon"] > 0
    assert "Anonymous" in log.samples[0].values
    assert {"AnonPages", "SwapFree", "PageTables", "SUnreclaim"} <= log.before.keys()
    assert log.before.keys() == log.after.keys()


LONG_CALLS = r"""
#include <stdlib.h>
#include <fcntl.h>
#include <sys/uio.h>
#include <unistd.h>
int main(int argc, char **argv)
{
    static struct iovec into[1024];
    int fd = open("/dev/urandom", O_RDONLY);
    if (argc > 1 && argv[1][0] == 'R') { /* one call that computes for seconds */
        char *buffer = malloc(2 << 20);
        for (int i = 0; i < 1023; i++)
            into[i] = (struct iovec){ buffer, 2 << 20 };
        return readv(fd, into, 1023) <= 0;
    }
    if (argc > 1 && argv[1][0] == 'D') { /* it sleeps until its child is gone */
        if (vfork() == 0) {
            usleep(3000000);
            _exit(0);
        }
        return 0;
    }
    for (int i = 0; i < 30; i++) /* it sleeps, and is awake in between */
        usleep(100000);
    return 0;
}
"""


@pytest.mark.parametrize(
    "words", [(), ("-DSTUCK_WATCHER=0", "-DSTUCK_LATE=0.5")], ids=["thread", "samples"]
)
@pytest.mark.parametrize("state", ["R", "D", "S"])
def test_sampler_tells_of_calls_that_last(
    tmp_path: Path, state: str, words: tuple[str, ...]
) -> None:
    """What sleeps and wakes, or sleeps for a signal to end it, is no call to tell of.

    Also where the thread that looks has looked once and never wakes again.
    """
    (tmp_path / "long.c").write_text(LONG_CALLS)
    how = ["gcc", *FLAGS, "-DSTUCK_TOLD=1.0", *words, "-I", LIB, "-o"]
    subprocess.run([*how, tmp_path / "sampler", AGENT / "sampler.c"], check=True, timeout=60)
    subprocess.run(["gcc", "-O2", "-o", tmp_path / "long", tmp_path / "long.c"], check=True)
    status, _, err = _sampler(
        {"sampler": tmp_path / "sampler"}, "--", str(tmp_path / "long"), state
    )
    assert status == 0
    told = [json.loads(line) for line in err.splitlines() if line.startswith('{"stuck":')]
    told = [line for line in told if line["stuck"]]
    if state == "S":
        assert told == []
        return
    assert {line["state"] for line in told} == {state}
    assert all(1.0 <= line["seconds"] < 60 for line in told)
    seconds = [line["seconds"] for line in told]
    assert seconds == sorted(seconds)
    assert readings.parse_samples(err).problems == ()


def test_sampler_passes_a_signal_on(native: dict[str, Path]) -> None:
    status, _, err = _sampler(native, "--", "sh", "-c", "kill -SEGV $$")
    assert status == 128 + 11
    assert readings.parse_samples(err).signal == 11


def test_sampler_tells_what_it_could_not_start(native: dict[str, Path]) -> None:
    status, _, err = _sampler(native, "--", "/no/such/program")
    end = json.loads(err.splitlines()[-1])
    assert (status, end["status"]) == (127, 127)
    assert "No such file" in end["error"]


@pytest.mark.parametrize("words", [(), ("-x",), ("-m", "token")])
def test_sampler_refuses_wrong_usage(native: dict[str, Path], words: tuple[str, ...]) -> None:
    status, _, err = _sampler(native, *words)
    assert status == 2
    assert "usage:" in err


def test_sampler_tells_what_was_left_changed(native: dict[str, Path], tmp_path: Path) -> None:
    """Nothing, where nothing was; the comparison by itself, since this machine stays as it is."""
    _, _, err = _sampler(native, "--", "true")
    assert readings.parse_samples(err).changed == ()
    program = tmp_path / "state.c"
    program.write_text(
        r"""
        #include "gueststate.h"
        int main(void)
        {
            static struct guest_state a, b;
            char names[512];
            strcpy(a.swaps, "Filename Type Size\n/dev/vdc partition 8 0 -2\n/dev/zram0 x 1 1 1\n");
            guest_state_swaps(a.swaps);
            b = a;
            a.room = 1;
            guest_state_changed(&a, &a, names, sizeof(names));
            printf("%s|%s|", a.swaps, names);
            strcpy(b.files[1], "1\n");
            b.swaps[0] = 0;
            guest_state_changed(&a, &b, names, sizeof(names));
            printf("%s|", names);
            guest_state_changed(&b, &a, names, 14);
            printf("%s\n", names);
            return 0;
        }"""
    )
    binary = tmp_path / "state"
    argv = ["gcc", "-O2", "-Wall", "-Werror", "-I", LIB, "-I", AGENT, "-o", binary, program]
    subprocess.run(argv, check=True, timeout=60)
    said = subprocess.run([binary], capture_output=True, text=True, timeout=10, check=True).stdout
    assert said == (
        "/dev/vdc /dev/zram0 ||/proc/swaps /sys/kernel/mm/ksm/run /tmp |/proc/swaps /\n"
    )


@pytest.mark.parametrize("how", ["stdin", "signal"])
def test_sampler_leaves_nothing_behind(native: dict[str, Path], tmp_path: Path, how: str) -> None:
    pids = tmp_path / "pids"
    # One in the group, one that left it, one orphan.
    script = f"""
        echo $$ >{pids}
        setsid sh -c 'echo $$ >>{pids}; sleep 60' &
        (sleep 60 & echo $! >>{pids})
        sleep 60"""
    with subprocess.Popen(
        [native["sampler"], "--", "sh", "-c", script],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdin is not None
        assert process.stderr is not None
        try:
            until = time.monotonic() + 60
            while not pids.exists() or len(pids.read_text().split()) < 3:
                assert time.monotonic() < until
                time.sleep(0.01)
            if how == "stdin":
                process.stdin.close()
            else:
                process.terminate()
            # Not its own time: eight at once on two cores took up to 4 s.
            assert process.wait(timeout=60) == 128 + 9
        finally:
            process.kill()
        end = json.loads(process.stderr.read().splitlines()[-1])
    assert "killed" in end
    for pid in pids.read_text().split():
        assert not Path(f"/proc/{pid}").exists()


def test_sampler_survives_garbage_on_stderr(native: dict[str, Path]) -> None:
    script = 'head -c 20000 /dev/urandom >&2; printf \'{"phase":"exit","status":9}\' >&2'
    _, _, err = _sampler(native, "--", "sh", "-c", script)
    log = readings.parse_samples(err)
    assert log.exit_status == 0
    assert log.ended


def test_ledger_runs_here(native: dict[str, Path]) -> None:
    """The ledger needs neither root nor a guest; its lines are what the lab reads."""
    done = subprocess.run(
        [native["ledger/anon"]], capture_output=True, text=True, timeout=60, check=False
    )
    report = ktap.parse(done.stdout)
    assert report.problems == ()
    assert [c.name for c in report.cases][:3] == ["start", "fault-in", "zero-page"]
    assert readings.ledger_problems(done.stdout) == ()
    steps = {s.step: s for s in readings.parse_ledger(done.stdout)}
    assert steps["faulted-in"].walk_anon == steps["start"].walk_anon + 256
    # Not judged here: AnonPages belongs to the whole machine, and others use it too.
    bad = [c.name for c in report.cases if c.verdict is Verdict.FAIL]
    assert set(bad) <= {"exit-gives-back"}


def test_documented() -> None:
    text = (HOME / "docs/workloads.md").read_text()
    suites = (HOME / "docs/kunit.md").read_text()
    for workload in _workloads():
        if workload.kunit:
            assert f"`{workload.name.removeprefix('kunit/')}`" in suites
        else:
            assert f"`{workload.name}`" in text


def test_python_programs_start_with_few_imports() -> None:
    for path in SOURCES:
        if path.suffix == ".py":
            found = set(re.findall(r"^(?:import|from) (\w+)", path.read_text(), re.M))
            allowed = {"array", "ctypes", "errno", "fcntl", "gc", "ktap", "mmap", "os", "sys",
                       "time", "uffd", "zlib"}  # fmt: skip
            assert found <= allowed, path
    assert sys.version_info >= (3, 11)


def test_each_shape_that_ships_has_one_kind_of_swap() -> None:
    """Of two kinds the kernel uses one until it is full: cases about the other prove nothing."""
    config = load_config(HOME / "lab.yaml", tuple(ARCHES))
    kinds = {
        shape.name: (bool(shape.swap_disk_mib), bool(shape.zram_mib)) for shape in config.shapes
    }
    assert all(sum(kind) <= 1 for kind in kinds.values())
    assert kinds["small"] == (True, False)
    # Of the profiles that run all there is: others have what the kernel's own programs take.
    whole = [p for p in config.profiles if any(e.workloads == ("*",) for e in p.entries)]
    assert {"smoke", "quick", "full", "nightly"} <= {profile.name for profile in whole}
    for profile in whole:
        used = {kinds[shape] for entry in profile.entries for shape in entry.shapes}
        assert (True, False) in used
        assert ((False, True) in used) == (profile.name not in ("smoke", "kunit"))


def test_pages_that_are_no_swap_entries_are_not_in_the_swap_cache(
    compiled: Callable[..., dict[str, Path]], tmp_path: Path
) -> None:
    source = tmp_path / "cached.c"
    source.write_text(
        '#include "ktap.h"\n#include "mem.h"\nstatic void cached(void)\n{\n'
        "\tsize_t len = 600 * mem_page();\n\tchar *area = mem_map(len, 0);\n"
        "\tmem_fill(area, len / 2, 1);\n\tCHECK_EQ(mem_present_pages(area, len / 2), 300);\n"
        "\tCHECK_EQ(mem_swap_cached_pages(area, len), 0);\n}\n"
        'int main(void)\n{\n\tstatic const struct ktap_case cases[] = {{"cached", cached}};\n'
        "\treturn ktap_run(cases, 1, NULL);\n}\n"
    )
    program = compiled(source)[f"{tmp_path.name}/cached"]
    done = subprocess.run(program, capture_output=True, text=True, check=False)
    assert "ok 1 cached" in done.stdout.splitlines(), done.stdout


def test_an_entry_is_told_as_the_kernel_writes_it(
    tmp_path: Path, compiled: Callable[..., dict[str, Path]]
) -> None:
    """Bits as of Documentation/admin-guide/mm/pagemap.rst; a number of 19 digits says nothing."""
    source = tmp_path / "entries.c"
    source.write_text(
        '#include "ktap.h"\n#include "mem.h"\n'
        "static void frame(void)\n{\n\tuint64_t some = MEM_PRESENT | 0x2364;\n"
        "\tCHECK_ENTRY(some, some);\n\tCHECK_ENTRY(some, MEM_PRESENT | 0x235c);\n}\n"
        "static void slot(void)\n{\n\tCHECK_ENTRY(MEM_SWAPPED | 65 << 5 | 3, 0);\n}\n"
        "static void other(void)\n{\n\tCHECK_ENTRY(0, (uint64_t)1 << 61);\n}\n"
        "int main(void)\n{\n\tstatic const struct ktap_case cases[] = {\n"
        '\t\t{"frame", frame}, {"slot", slot}, {"other", other}};\n'
        "\treturn ktap_run(cases, 3, NULL);\n}\n"
    )
    program = compiled(source)[f"{tmp_path.name}/entries"]
    said = subprocess.run(program, capture_output=True, text=True, check=False).stdout
    told = [line.partition(": ")[2] for line in said.splitlines() if "entries.c" in line]
    assert told == [
        "some: got entry 0x8000000000002364 (frame 0x2364), "
        "expected 0x800000000000235c (frame 0x235c)",
        "MEM_SWAPPED | 65 << 5 | 3: got entry 0x4000000000000823 (swap type 3, offset 0x41), "
        "expected none",
        "0: got entry none, expected 0x2000000000000000",
    ]
