# SPDX-License-Identifier: GPL-2.0-only
"""`lab log`: the reports of any machine's log, for people, scripts and CI."""

import bz2
import gzip
import io
import json
import lzma
import os
import signal
import subprocess
import sys
import threading
import time

import pytest
from klogs import DATA, LOGS, found
from lxml import etree
from small_vmlinux import link, mark_in, of

from orchestrator import HOME
from orchestrator.commands.log import _require_text
from orchestrator.evidence.klog import parse as klog
from orchestrator.model.errors import UserError
from orchestrator.report import log_repeats

RSS = "[    4.362731][   T78] BUG: Bad rss-counter state mm:0000000021 type:MM_ANONPAGES val:64\n"
QUIET = "[    1.000000][   T78] clocksource: jiffies\n"
SCHEMA = HOME / "tests" / "data" / "report" / "junit.xsd"


@pytest.fixture
def give(monkeypatch):
    """Put something on standard input."""

    def work(data: bytes) -> None:
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data)))

    return work


def events(done) -> list[dict]:
    return [json.loads(line) for line in done.out.splitlines()]


# ---------------------------------------------------------------- what it says


def test_a_report_in_a_block(lab):
    done = lab("log", str(DATA / "x86-lkdtm-warning-message.log"))
    lines = done.out.splitlines()
    assert done.status == 1
    assert done.err == ""
    assert lines[0] == "FAIL   WARNING: at drivers/misc/lkdtm/bugs.c:117 lkdtm_WARNING_MESSAGE"
    fields = {line.split()[0]: line.split(None, 1)[1] for line in lines[1:7]}
    assert fields == {
        "kind": "warning",
        "blamed": "lkdtm_WARNING_MESSAGE",
        "source": "drivers/misc/lkdtm/bugs.c",
        "signature": found(DATA / "x86-lkdtm-warning-message.log")[0].signature,
        "where": "CPU 1, task sh/78, 6.657580 s",
        "log": f"{DATA}/x86-lkdtm-warning-message.log:2-40",
    }
    assert "       | Warning message trigger count: 2" in lines
    assert "       |  lkdtm_do_action+0x14/0x20" in lines
    assert not any("RAX:" in line for line in lines)
    assert lines[-1] == (
        f"1 report in 40 lines of {DATA}/x86-lkdtm-warning-message.log: 1 fail; exit status 1"
    )
    full = lab("log", "--full", str(DATA / "x86-lkdtm-warning-message.log"))
    text = found(DATA / "x86-lkdtm-warning-message.log")[0].text
    assert all(f"       | {line}".rstrip() in full.out for line in text.split("\n"))


def test_nothing_found_is_one_line(lab, folder):
    (folder / "dmesg").write_text(QUIET * 3)
    done = lab("log", "dmesg")
    assert (done.status, done.err) == (0, "")
    assert done.out == "no report in 3 lines of dmesg; exit status 0\n"


def test_a_report_that_is_cut_says_so(lab, folder):
    whole = (DATA / "x86-lkdtm-warning.log").read_bytes().split(b"\n")
    (folder / "dmesg").write_bytes(b"\n".join(whole[:4]))
    (hit,) = klog.parse(b"\n".join(whole[:4]))
    assert hit.corrupted
    assert f"       corrupted  {hit.damage}\n" in lab("log", "dmesg").out


def test_the_same_again_is_counted_and_told_once(lab, folder):
    (folder / "a").write_text(RSS + QUIET + RSS * 2591)
    (folder / "b").write_text(RSS + QUIET + RSS)
    done = lab("log", "a", "b")
    assert done.out.count("| BUG: Bad rss-counter") == 1
    assert done.out.count("as of the report with this signature above") == 1
    signature = found(folder / "a")[0].signature
    assert (
        "FAIL   BUG: Bad rss-counter state type:MM_ANONPAGES\n"
        f"       signature  {signature}\n"
        "       log        a: 2,591 more of this signature, from line 3 to line 2593\n\n"
    ) in done.out
    assert "       log        b: 1 more of this signature, at line 3\n\n" in done.out
    assert done.out.count("FAIL") == 4
    assert done.out.endswith("2594 reports in 2596 lines of 2 logs: 2594 fail; exit status 1\n")


def test_in_full_each_of_a_signature_is_shown(lab, folder):
    (folder / "a").write_text(RSS + QUIET + RSS)
    done = lab("log", "--full", "a", "a")
    assert done.out.count("| BUG: Bad rss-counter") == done.out.count("FAIL") == 4
    assert "more of this" not in done.out


def test_what_is_allowed_hides_no_other_of_its_signature(lab, folder):
    (folder / "a").write_text(RSS + RSS.replace("val:64", "val:1") * 2)
    done = lab("log", "a", "--allow", "val:64")
    assert [line[:8] for line in done.out.splitlines() if "state type:" in line] == [
        "ALLOWED ", "FAIL   B", "FAIL   B",
    ]  # fmt: skip
    assert "a: 1 more of this signature, at line 3" in done.out


def test_beyond_what_is_kept_each_report_is_told(lab, folder, monkeypatch):
    monkeypatch.setattr(log_repeats, "_MAX_SEEN", 1)
    (folder / "a").write_text((RSS + RSS.replace("ANON", "FILE")) * 3)
    out = lab("log", "a").out
    assert out.count("type:MM_FILEPAGES val") == 3
    assert out.count("type:MM_ANONPAGES val") == 1
    assert "2 more of this signature, from line 3 to line 5" in out


def test_nothing_of_a_log_steers_the_terminal(lab, folder):
    (folder / "x").write_bytes(RSS.encode().replace(b"mm:", "\u202emm:".encode()))
    done = lab("log", "x")
    assert "\u202e" not in done.out
    assert "\\u202e" in done.out


@pytest.mark.parametrize("log", LOGS[::7], ids=lambda path: path.stem)
def test_every_log_of_the_collection(lab, log):
    done = lab("log", str(log), "--json")
    reports, end = events(done)[:-1], events(done)[-1]
    hits = found(log)
    assert [(r["title"], r["signature"], r["line"], r["text"]) for r in reports] == [
        (hit.title, hit.signature, hit.line, hit.text) for hit in hits
    ]
    assert done.status == end["exit_status"] == (1 if hits else 0)
    assert end["files"][0]["lines"] == len(log.read_bytes().rstrip(b"\n").split(b"\n"))


# ---------------------------------------------------------------- where it reads


@pytest.mark.parametrize("pack", [bytes, gzip.compress, lzma.compress, bz2.compress])
def test_compressed_and_on_standard_input(lab, folder, give, pack):
    data = pack((RSS + QUIET).encode())
    (folder / "log").write_bytes(data)
    assert "log:1" in lab("log", "log").out
    give(data)
    done = lab("log", "-")
    assert done.status == 1
    assert "stdin:1" in done.out
    assert done.out.endswith("1 report in 2 lines of stdin: 1 fail; exit status 1\n")


def test_of_a_file_that_was_cut_the_reports_are_shown(lab, folder):
    data = gzip.compress((RSS + QUIET * 5000).encode())
    (folder / "log.gz").write_bytes(data[:-20])
    done = lab("log", "log.gz", "--junit", "out.xml")
    assert done.status == 2
    assert "FAIL   BUG: Bad rss-counter state" in done.out
    assert done.err.splitlines() == [
        "lab: log.gz ends in the middle of its gzip data",
        "     it was cut short: copy or fetch it again",
    ]
    assert "exit status 2" in done.out
    suite = etree.parse(str(folder / "out.xml")).getroot()[0]
    assert (suite.get("failures"), suite.get("errors")) == ("1", "1")


@pytest.mark.parametrize(
    ("name", "data", "told", "hint"),
    [
        ("elf", b"\x7fELF\2\1\1" + bytes(99), "elf is no log but an ELF file", "--vmlinux"),
        ("x.png", b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 9, "no log but binary", "text"),
        ("x.tar", b"log" + bytes(254) + b"ustar" + bytes(99), "but a tar archive", "unpack"),
        ("x.txt", "\ufeffBUG".encode("utf-16-le"), "is no log but UTF-16", "iconv"),
        ("x.zst", b"\x28\xb5\x2f\xfdabcdefg", "x.zst is a zstd file", "zstd -dc"),
        ("empty", b"", "empty is empty: there is nothing to judge", "dmesg"),
        ("no", None, "cannot read no: no such file or directory", "name"),
        (".", None, "cannot read .: is a directory", "name a file in it"),
    ],
)
def test_what_cannot_be_read_is_one_sentence(lab, folder, name, data, told, hint):
    if data is not None:
        (folder / name).write_bytes(data)
    done = lab("log", name)
    first, second = done.err.splitlines()
    assert done.status == 2
    assert done.out == ""
    assert told in first
    assert hint in second


def test_the_other_logs_are_read_all_the_same(lab, folder):
    (folder / "log").write_text(RSS)
    done = lab("log", "none", "log")
    assert done.status == 2
    assert "1 report in 1 line of 2 logs" in done.out
    assert "lab: cannot read none" in done.err


def test_noise_on_a_console_is_no_binary():
    _require_text(bytes(3000) + RSS.encode(), "x")
    _require_text(b"\xff\xfd\x80\x01" * 20 + QUIET.encode() * 20, "x")
    _require_text("Über größere Änderungen\n".encode() * 9, "x")
    with pytest.raises(UserError):
        _require_text(os.urandom(4096), "x")


def test_what_looks_like_no_kernel_log_is_noted(lab, folder):
    (folder / "notes.txt").write_text("milk\nbread\n")
    done = lab("log", "notes.txt")
    assert done.status == 0
    assert done.err == "lab: note: no line of notes.txt looks like a kernel's\n"


def test_usage(lab):
    assert lab("log").status == 2
    assert lab("log", "--bogus", "x").status == 2


# ---------------------------------------------------------------- what is allowed


def test_allowed_by_a_pattern(lab, folder):
    (folder / "log").write_text(RSS)
    done = lab("log", "log", "--allow", "nothing", "--allow", "MM_ANON")
    assert done.status == 0
    assert done.out.startswith("ALLOWED")
    assert "       allowed    MM_ANON" in done.out
    assert done.out.endswith("1 report in 1 line of log: 1 allowed; exit status 0\n")
    assert lab("log", str(DATA / "x86-lkdtm-panic.log"), "--allow", "panic").status == 1


@pytest.mark.parametrize(
    ("pattern", "told"), [("(", "no regular expression"), ("x*", "everything")]
)
def test_a_pattern_that_is_none(lab, folder, pattern, told):
    done = lab("log", "log", "--allow", pattern)
    assert done.status == 2
    assert told in done.err


@pytest.mark.parametrize(
    ("kernels", "status"),
    [("", 0), ("    kernels: '<= 6.12'\n", 0), ("    kernels: '> 6.12'\n", 1)],
)
def test_known_by_a_file(lab, folder, kernels, status):
    banner = "[    0.000000][    T0] Linux version 6.12.30 (me@here)\n"
    (folder / "log").write_text(banner + RSS)
    (folder / "known.yaml").write_text(
        f"known_issues:\n  - title: Bad rss-counter\n    reason: as ever\n{kernels}"
    )
    done = lab("log", "log", "--known", "known.yaml")
    assert done.status == status
    assert ("known      as ever" in done.out) == (status == 0)


def test_known_elsewhere_is_not_known_here(lab, folder):
    (folder / "log").write_text(RSS)
    (folder / "known.yaml").write_text(
        "known_issues: [{title: rss, reason: x, workload: race/x}]\nmessages: {allows: [nope]}\n"
    )
    assert lab("log", "log", "--known", "known.yaml").status == 1
    assert lab("log", "log", "--known", "none.yaml").status == 2
    (folder / "known.yaml").write_text("messages: {allows: [rss-counter]}\n")
    assert lab("log", "log", "--known", "known.yaml").status == 0


# ---------------------------------------------------------------- for machines


def test_junit(lab, folder):
    (folder / "bad").write_text(RSS + RSS + QUIET)
    (folder / "good").write_text(QUIET)
    done = lab("log", "bad", "good", "none", "--junit", "new/junit.xml")
    assert done.status == 2
    document = etree.parse(str(folder / "new" / "junit.xml"))
    etree.XMLSchema(etree.parse(str(SCHEMA))).assertValid(document)
    bad, good, none = document.getroot()
    (case,) = bad.findall("testcase")
    assert case.get("name") == "BUG: Bad rss-counter state type:MM_ANONPAGES"
    assert case.get("classname") == "log.bad-rss-counter"
    body = case.find("failure").text
    assert "found 2 times; the first:" in body
    assert "signature: " in body
    assert "BUG: Bad rss-counter state mm:" in body
    (passed,) = good.findall("testcase")
    assert (passed.get("name"), len(passed)) == ("no report", 0)
    assert none.get("errors") == "1"
    assert "no such file" in none.find("testcase/error").get("message")


def test_junit_of_what_is_allowed_has_no_failure(lab, folder):
    (folder / "bad").write_text(RSS)
    assert lab("log", "bad", "--allow", "rss", "--junit", "j.xml").status == 0
    (suite,) = etree.parse(str(folder / "j.xml")).getroot()
    assert suite.get("failures") == "0"
    assert "allowed: rss" in suite.find("testcase/system-out").text


def test_junit_that_cannot_be_written(lab, folder):
    (folder / "log").write_text(QUIET)
    done = lab("log", "log", "--junit", ".")
    assert done.status == 3
    assert "cannot write ." in done.err


def test_json(lab, folder):
    (folder / "log").write_text(RSS)
    report, end = events(lab("log", "log", "none", "--json", "--allow", "x{9}"))
    assert report["event"] == "report"
    assert (report["file"], report["verdict"], report["line"]) == ("log", "fail", 1)
    assert report["text"].startswith("BUG: Bad rss-counter state")
    assert end == {
        "event": "summary",
        "files": [
            {"file": "log", "lines": 1, "reports": 1, "problem": ""},
            {"file": "none", "lines": 0, "reports": 0,
             "problem": "cannot read none: no such file or directory"},
        ],
        "reports": {"fail": 1, "known issue": 0, "allowed": 0},
        "exit_status": 2,
        "seconds": end["seconds"],
    }  # fmt: skip


# ---------------------------------------------------------------- source lines


@pytest.fixture
def vmlinux(folder):
    """A file with the code and lines of one function, and a log of a report in it."""
    path = link(folder, "-g")
    (_, size), at = of(path, "outer"), mark_in(path, "outer")
    (folder / "log").write_text(
        "[    0.000000][    T0] Linux version 6.1.2-mine (me@here) #1 SMP\n"
        "[    1.000000][    T1] BUG: unable to handle page fault for address: ff\n"
        "[    1.000000][    T1] Oops: 0002 [#1] SMP\n"
        f"[    1.000000][    T1] RIP: 0010:outer+{at:#x}/{size:#x}\n"
        "[    1.000000][    T1] Call Trace:\n"
        f"[    1.000000][    T1]  outer+{size:#x}/{size:#x}\n"
        "[    1.000000][    T1] ---[ end trace 0000000000000000 ]---\n"
    )
    return path


def test_lines_of_a_vmlinux(lab, vmlinux):
    done = lab("log", "log", "--vmlinux", "vmlinux")
    assert done.err == ""
    assert "mm/move.c:13\n" in next(
        line + "\n"
        for line in done.out.splitlines()
        if line.startswith("       blamed     outer at")
    )
    assert "[inner mm/move.c:8]" in done.out
    assert "inlined by outer  [mm/move.c:13]" in done.out
    assert events(lab("log", "log", "--vmlinux", "vmlinux", "--json"))[0]["frames"]


def test_a_vmlinux_of_another_build_tells_nothing(lab, folder, vmlinux):
    log = (folder / "log").read_text().replace("#1 SMP", "#2 SMP")
    (folder / "log").write_text(log)
    done = lab("log", "log", "--vmlinux", "vmlinux")
    assert done.status == 1
    assert "move.c" not in done.out
    assert "lab: no source lines: vmlinux is of another build than the log" in done.err


def test_a_vmlinux_that_is_none(lab, folder):
    (folder / "log").write_text(RSS)
    done = lab("log", "log", "--vmlinux", "log")
    assert done.status == 2
    assert "log is no vmlinux" in done.err


# ---------------------------------------------------------------- as a process


@pytest.fixture
def unread():
    """A standard output that nobody reads."""
    reader, writer = os.pipe()
    os.close(reader)
    yield writer
    os.close(writer)


def test_a_reader_that_goes_away(lab_process, folder):
    (folder / "log").write_text(RSS * 3000)
    with subprocess.Popen(["head", "-1"], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as head:
        done = lab_process("log", "log", stdout=head.stdin)
        head.stdin.close()
        assert head.stdout.read().startswith(b"FAIL")
    assert (done.returncode, done.stderr) == (1, "")


@pytest.mark.parametrize("shown", [(), ("--json",), ("--full",)])
def test_unread_files_are_read_to_their_end(lab_process, folder, unread, shown):
    (folder / "log").write_text(RSS.replace("ANON", "FILE") + QUIET + RSS)
    words = ("log", "log", "--allow", "FILE", "--junit", "j.xml", *shown)
    done = lab_process(*words, stdout=unread)
    assert (done.returncode, done.stderr) == (1, "")
    (suite,) = etree.parse(str(folder / "j.xml")).getroot()
    assert (suite.get("tests"), suite.get("failures")) == ("2", "1")
    assert lab_process("log", "log", "none", stdout=unread).returncode == 2
    assert lab_process("log", "log", "--allow", "rss", stdout=unread).returncode == 0


def test_an_unread_pipe_is_left_when_the_status_is_known(lab_process, unread):
    reader, writer = os.pipe()
    os.write(writer, RSS.encode())  # and it stays open: more may come
    assert lab_process("log", "-", stdin=reader, stdout=unread).returncode == 1
    os.close(reader)
    os.close(writer)


def test_ctrl_c_tells_what_was_read(folder):
    argv = [sys.executable, "-m", "orchestrator.cli", "log", "-", "--junit", "j.xml"]
    env = os.environ | {"PYTHONPATH": str(HOME)}
    with subprocess.Popen(
        argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=env
    ) as child:
        child.stdin.write((RSS + QUIET).encode())
        child.stdin.flush()
        # The report is told at once, being of one line; so is the next of another signature.
        first = child.stdout.readline()
        child.stdin.write((RSS * 3 + RSS.replace("ANON", "FILE")).encode())
        child.stdin.flush()
        told = []
        while "MM_FILEPAGES val" not in "".join(told):
            told.append(child.stdout.readline().decode())
        timer = threading.Timer(0.1, child.send_signal, [signal.SIGINT])
        timer.start()
        until = time.monotonic() + 20
        rest = child.stdout.read()
        assert time.monotonic() < until
        child.stdin.close()
    assert first.startswith(b"FAIL")
    assert "more of" not in "".join(told)
    assert b"stdin: 3 more of this signature, from line 3 to line 5\n" in rest
    assert rest.endswith(b"5 reports in 6 lines of stdin: 5 fail; interrupted; exit status 130\n")
    assert child.returncode == 130
    assert b'failures="2"' in (folder / "j.xml").read_bytes()


@pytest.mark.slow
def test_memory_is_bounded(folder):
    from measure_klog import flood

    with (folder / "log").open("wb") as file:
        file.writelines(flood(20_000_000))
    show = (
        "from peak_memory import peak_kib\nfrom orchestrator.commands.log import LogOptions, log\n"
        "log(('small',), LogOptions())\n"
        "before = peak_kib()\n"
        "log(('log',), LogOptions())\n"
        "print((peak_kib() - before) // 1024)\n"
    )
    (folder / "small").write_text(RSS)
    done = subprocess.run(
        [sys.executable, "-c", show], capture_output=True, text=True, timeout=60, check=True,
        env=os.environ | {"PYTHONPATH": f"{HOME}:{HOME / 'tests' / 'support'}"},
    )  # fmt: skip
    assert int(done.stdout.splitlines()[-1]) < 8
