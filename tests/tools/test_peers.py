# SPDX-License-Identifier: GPL-2.0-only
"""tools/peers.py: what it counts, on suites made up here in the formats of the real ones."""

from __future__ import annotations

import json
import subprocess
from collections import Counter
from pathlib import Path

import peers
import peers_mail
import peers_syzkaller
import peers_table
import peers_tap
import pytest
from peers_table import Difference, Judge, Measured, PeersError, Policy, Row

WARN = """\
[    7.100000][   T91] ------------[ cut here ]------------
[    7.100010][   T91] WARNING: CPU: 0 PID: 91 at mm/plum.c:40 {0}+0x1c/0x80
[    7.100020][   T91] CPU: 0 UID: 0 PID: 91 Comm: pick Not tainted 6.12.0 #1
[    7.100030][   T91] RIP: 0010:{0}+0x1c/0x80
[    7.100040][   T91] Call Trace:
[    7.100050][   T91]  <TASK>
[    7.100060][   T91]  {0}+0x1c/0x80
[    7.100070][   T91]  plum_basket+0x40/0x90
[    7.100080][   T91]  </TASK>
{1}"""
END = "[    7.100090][   T91] ---[ end trace 0000000000000000 ]---\n"


def warning(function: str, end: str = END) -> str:
    return WARN.format(function, end)


def put(folder: Path, name: str, text: str) -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def syzkaller(folder: Path, files: dict[str, str]) -> Path:
    put(folder, "pkg/report/testdata/linux/guilty/7", "FILE: mm/plum.c\n\n" + warning("plum"))
    for name, text in files.items():
        put(folder, f"pkg/report/testdata/linux/{name}", text)
    return folder


def rows_of(measured: Measured) -> dict[str, Row]:
    return {row.key: row for row in measured.rows}


# ---------------------------------------------------------------- syzkaller: reading


def test_a_log_is_read_as_the_suite_does(tmp_path: Path) -> None:
    path = put(
        tmp_path, "1",
        "TITLE: WARNING in plum (2)\n# of an orchard\nALT: bad plum in plum\nCORRUPTED: Y\n\n"
        "[    1.000000] one\r\nREPORT:\n\nREPORT:\nwhat comes of it\n",
    )  # fmt: skip
    log = peers_syzkaller.read_log(path, "report/1")
    assert log.titles == {"WARNING in plum", "bad plum in plum"}
    assert log.corrupted
    assert log.text == b"[    1.000000] one\nREPORT:\n"  # that line is the log's own


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("TITLE: x\n\n", "no log"),
        ("TITLE: x\n", "no log"),
        ("TITLE: x\nsome text\n\nlog\n", "line 2 is no header"),
        ("CORRUPTED: maybe\n\nlog\n", "neither Y nor N"),
    ],
)
def test_a_file_of_another_format_is_refused(tmp_path: Path, text: str, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        peers_syzkaller.read_log(put(tmp_path, "1", text), "report/1")


@pytest.mark.parametrize(
    ("title", "functions"),
    [
        ("KASAN: slab-out-of-bounds Read in plum", {"plum"}),
        ("possible deadlock in plum (3)", {"plum"}),
        ("BUG: unable to handle kernel paging request in __x64_sys_plum", {"plum"}),
        ("WARNING in plum/usb_submit_urb", {"plum"}),
        ("KCSAN: data-race in plum_a / plum_b", {"plum_a", "plum_b"}),
        ("WARNING in corrupted", set()),
        ("kernel BUG at mm/plum.c:40!", set()),
        ("BUG: Bad page state", set()),
    ],
)
def test_the_function_of_a_title(title: str, functions: set[str]) -> None:
    assert peers_syzkaller.functions_of(title) == functions


@pytest.mark.parametrize(
    ("name", "is_called"),
    [
        ("plum.isra.0", "plum"), ("plum.part.3.cold", "plum"), ("__ia32_sys_plum", "plum"),
        ("__se_sys_plum", "plum"), ("__do_sys_plum", "plum"), ("ksys_plum", "plum"),
        ("__arm64_compat_sys_plum", "compat_sys_plum"), ("system_plum", "system_plum"),
        ("sys_", "sys_"),
    ],
)  # fmt: skip
def test_prefixes_of_system_calls_are_no_difference(name: str, is_called: str) -> None:
    assert peers_syzkaller.bare(name) == is_called


@pytest.mark.parametrize(
    ("line", "arch"),
    [
        ("RIP: 0010:plum+0x1/0x2", "x86_64"),
        ("x29: ffff800080003ca0 x28: 0", "arm64"),
        ("pc : plum+0x1/0x2 pstate: 60000005", "arm64"),
        ("PC is at plum+0x1/0x2", "arm"),
        ("NIP [c000000000000001] plum+0x1/0x2", "powerpc"),
        ("Krnl PSW : 0704c00180000000", "s390x"),
        ("epc : ffffffff80000000 ra : 0", "riscv"),
        ("EIP: plum+0x1/0x2", "i386"),
        ("Hardware name: QEMU Standard PC (i440FX + PIIX, 1996)", "x86_64"),
        ("BUG: Bad page state", ""),
    ],
)
def test_the_architecture_is_told_by_the_log(line: str, arch: str) -> None:
    assert peers_syzkaller.arch_of(b"first\n" + line.encode() + b"\nlast\n") == arch


# ---------------------------------------------------------------- syzkaller: comparing


def test_crashes_and_quiet_logs(tmp_path: Path) -> None:
    foreign = "NIP [c000000000000001] plum+0x1/0x2\n"
    folder = syzkaller(tmp_path, {
        "report/0": "TITLE: WARNING in plum\n\n" + warning("plum"),
        "report/1": "TITLE: lost plum in plum\n\nnothing to see\n",
        "report/2": "TITLE: lost plum in plum\n\n" + foreign,
        "report/3": "\n[    1.000000] all is well\n",
        "report/4": "\n" + warning("plum"),
        "report/.notes": "no number, no test",
    })  # fmt: skip
    measured = peers_syzkaller.measure(folder)
    rows = rows_of(measured)
    assert measured.unread == ()
    assert rows["crash"].cases == 3
    assert [case.file for case in rows["crash"].differences] == ["report/1", "report/2"]
    assert rows["crash"].differences[1].arch == "powerpc"
    assert rows["crash-own-arch"].cases == 2
    assert [case.file for case in rows["crash-own-arch"].differences] == ["report/1"]
    assert rows["quiet"].cases == 2
    assert [case.file for case in rows["quiet"].differences] == ["report/4"]
    assert rows["quiet"].differences[0].lab == "hit: WARNING: at mm/plum.c:40 plum"


def test_the_function_and_what_is_cut(tmp_path: Path) -> None:
    folder = syzkaller(tmp_path, {
        "report/0": "TITLE: WARNING in plum\n\n" + warning("plum"),
        "report/1": "TITLE: WARNING in pear\n\n" + warning("plum"),
        "report/2": "TITLE: WARNING in __x64_sys_plum\nCORRUPTED: Y\n\n"
        + warning("__se_sys_plum", end=""),
        "report/3": "TITLE: WARNING in plum\nCORRUPTED: Y\n\n" + warning("plum"),
        "report/4": "TITLE: lost\n\nnothing to see\n",
    })  # fmt: skip
    rows = rows_of(peers_syzkaller.measure(folder))
    assert rows["function"].cases == 4
    assert [(c.file, c.peer, c.lab) for c in rows["function"].differences] == [
        ("report/1", "pear", "plum")
    ]
    assert rows["corrupted"].cases == 5
    assert [(c.file, c.peer, c.lab) for c in rows["corrupted"].differences] == [
        ("report/3", "corrupted", "whole"),
        ("report/4", "whole", "no hit"),
    ]


def test_bugs_and_signatures(tmp_path: Path) -> None:
    folder = syzkaller(tmp_path, {
        "report/0": "TITLE: WARNING in plum\n\n" + warning("plum"),
        "report/1": "TITLE: rotten fruit in plum\n\n" + warning("plum"),
        "report/2": "TITLE: WARNING in pear\n\n" + warning("pear"),
        "report/3": "TITLE: WARNING in pear (2)\n\n" + warning("fig"),
        "report/4": "TITLE: ripe fruit in plum\nALT: WARNING in plum\n\n" + warning("plum"),
        "report/5": "TITLE: WARNING\n\n" + warning("plum"),
    })  # fmt: skip
    rows = rows_of(peers_syzkaller.measure(folder))
    # Of ten pairs with a function, 0 and 4 are one bug by ALT, and 2 and 3 by their title.
    assert rows["two-bugs"].cases == 8
    assert [case.file for case in rows["two-bugs"].differences] == [
        "report/0 + report/1", "report/1 + report/4",
    ]  # fmt: skip
    assert rows["two-bugs"].note == "pairs under one signature: 2; such signatures: 1"
    assert rows["one-bug"].cases == 1
    assert [(c.file, c.title) for c in rows["one-bug"].differences] == [
        ("report/2 + report/3", "WARNING in pear")
    ]


def test_the_file_to_blame(tmp_path: Path) -> None:
    folder = syzkaller(tmp_path, {
        "report/0": "\nquiet\n",
        "guilty/0": "FILE: mm/plum.c\n\n" + warning("plum"),
        "guilty/1": "# where it grows\nFILE: mm/pear.c\n\n" + warning("plum"),
        "guilty/2": "FILE: mm/fig.c\n\nnothing to see\n",
        "guilty_raw/0": "TITLE: WARNING in plum\nFILE: mm/plum.c\n\n" + warning("plum"),
    })  # fmt: skip
    row = rows_of(peers_syzkaller.measure(folder))["file"]
    assert row.cases == 5  # with the one of all suites here
    assert [(c.file, c.peer, c.lab) for c in row.differences] == [
        ("guilty/1", "mm/pear.c", "mm/plum.c"),
        ("guilty/2", "mm/fig.c", "no hit"),
    ]


# ---------------------------------------------------------------- KTAP

KUNIT_TEST = """
class KUnitParserTest(unittest.TestCase):
    def test_plums(self):
        plum_log = test_data_path('plums-'
            'ripe.log')
        with open(plum_log) as file:
            result = kunit_parser.parse_run_tests(file.readlines())
        self.assertEqual(kunit_parser.TestStatus.SUCCESS, result.status)
        self.assertEqual(result.counts, kunit_parser.TestCounts(passed=2, skipped=1))
        self.assertEqual('plums', result.subtests[0].name)
        self.assertContains('ripe', result)

    def test_pears(self):
        with open(test_data_path('pears.log')) as file:
            result = kunit_parser.parse_run_tests(file.readlines())
        self.assertEqual(result.status, kunit_parser.TestStatus.FAILURE)
        self.assertEqual(3, result.counts.total())

    def test_neither(self):
        self.assertEqual(test_data_path('a'), test_data_path('b'))
        self.assertEqual(1, 1)
"""
PLUMS = """\
KTAP version 1
1..1
  KTAP version 1
  # Subtest: plums
  1..3
  ok 1 blue
  ok 2 red
  ok 3 green # SKIP not ripe
ok 1 plums
"""


def test_what_kunits_test_asserts_is_read_from_its_source() -> None:
    plums, pears = peers_tap.expectations(KUNIT_TEST)
    assert plums.told() == "pass, passed 2, failed 0, skipped 1, [0] plums"
    assert plums.file == "plums-ripe.log"
    assert pears.told() == "fail, total 3"


def test_kunits_logs(tmp_path: Path) -> None:
    folder = tmp_path / "tools" / "testing" / "kunit"
    put(folder, "kunit_tool_test.py", KUNIT_TEST)
    put(folder, "test_data/plums-ripe.log", PLUMS)
    measured = peers_tap.measure_kunit(tmp_path)
    assert rows_of(measured)["kunit"].cases == 1
    assert rows_of(measured)["kunit"].differences == ()
    ((name, _),) = measured.unread
    assert name == "tools/testing/kunit/test_data/pears.log"
    put(folder, "test_data/pears.log", "TAP version 13\n1..2\nok 1 a\nok 2 b\n")
    (case,) = rows_of(peers_tap.measure_kunit(tmp_path))["kunit"].differences
    assert (case.file, case.peer, case.lab) == ("pears.log", "fail, total 3", "pass, total 2")


def test_parents_and_their_subtests_are_told_apart() -> None:
    cases = peers_tap.ktap.parse(PLUMS.replace("1..1", "1..2", 1) + "ok 2 plums.more\n").cases
    assert [case.name for case in peers_tap.leaves(cases)] == [
        "plums.blue", "plums.red", "plums.green", "plums.more",
    ]  # fmt: skip
    assert [case.name for case in peers_tap.tops(cases)] == ["plums", "plums.more"]


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("TAP version 13\n1..1\nok 1 a\n", "pass"),
        ("TAP version 13\n1..2\nok 1 a\nnot ok 2 b\n", "fail"),
        ("TAP version 13\n1..1\nok 1 a # SKIP no\n", "skip"),
        ("TAP version 13\n1..0 # SKIP none grow here\n", "skip"),
        ("TAP version 13\n1..2\nok 1 a\n", "incomplete"),
        ("", "incomplete"),
    ],
)
def test_outcomes(text: str, word: str) -> None:
    assert peers_tap.outcome(peers_tap.ktap.parse(text)) == word


def test_fixtures_of_tap_parser(tmp_path: Path) -> None:
    def fixture(name: str, text: str, *events: object) -> None:
        put(tmp_path, f"test/fixtures/{name}.tap", text)
        put(tmp_path, f"test/fixtures/{name}.json", json.dumps(events))

    fixture("good", "TAP version 13\n1..1\nok 1 a\n", ["complete", {"ok": True, "count": 1}])
    fixture("other", "TAP version 13\n1..1\nok 1 a\n", ["complete", {"ok": False, "count": 2}])
    fixture("nested", PLUMS, ["child", []], ["complete", {"ok": True, "count": 9}])
    fixture("endless", "TAP version 13\n", ["version", 13])
    measured = peers_tap.measure_tap_parser(tmp_path)
    row = rows_of(measured)["tap-parser"]
    assert row.cases == 3
    assert [(c.file, c.peer, c.lab) for c in row.differences] == [
        ("other.tap", '{"ok": false, "count": 2}', '{"ok": true, "count": 1}')
    ]
    assert measured.unread == (("test/fixtures/endless.json", 'it has no event "complete"'),)


# ---------------------------------------------------------------- mails

DIFF = """\
diff --git a/mm/plum.c b/mm/plum.c
--- a/mm/plum.c
+++ b/mm/plum.c
@@ -1,2 +1,2 @@ int plum(void)
 same
-old
+new
"""
MAIL = """\
From nobody Mon Sep 17 00:00:00 2001
From: A Gardener <gardener@example.com>
Date: Fri, 9 Jun 2006 00:44:16 -0700
Subject: [PATCH {0}] plant a tree {1}

Why.

---
 mm/plum.c | 2 +-

{2}
-- 
2.39

"""  # noqa: W291


def mbox(*numbers: str, diff: str = DIFF) -> str:
    return "".join(MAIL.format(n, n[:1], "" if n.startswith("0/") else diff) for n in numbers)


def test_mails_of_git(tmp_path: Path) -> None:
    place = tmp_path / "t" / "t5100"
    put(place, "sample.mbox", mbox("1/2", "2/2"))
    head = "Author: {}\nEmail: gardener@example.com\nSubject: plant a tree {}\nDate: x\n"
    put(place, "info0001", head.format("A Gardener", 1))
    put(place, "info0002", head.format("B Gardener", 2))
    put(place, "info0002--scissors", "of an option\n")
    put(place, "patch0001", f"---\n mm/plum.c | 2 +-\n\n{DIFF}-- \n2.39\n-\nfooter\n")
    put(place, "patch0002", DIFF.replace("new", "newer"))
    measured = peers_mail.measure_git(tmp_path)
    rows = rows_of(measured)
    assert [name for name, _ in measured.unread] == ["t/t5100/rfc2047-samples.mbox"]
    assert (rows["mail-split"].cases, rows["mail-split"].differences) == (1, ())
    assert rows["mail-head"].cases == rows["mail-patch"].cases == 2
    assert [(c.file, c.lab) for c in rows["mail-head"].differences] == [
        ("sample.mbox:info0002", "A Gardener <gardener@example.com>: plant a tree 2")
    ]
    assert [(c.peer, c.lab) for c in rows["mail-patch"].differences] == [
        ("5 lines, 5: +newer", "5 lines, 5: +new")
    ]


def test_series_of_b4(tmp_path: Path) -> None:
    put(tmp_path, "src/tests/samples/two.mbox", mbox("0/2", "2/2", "1/2"))
    put(tmp_path, "src/tests/samples/two-ref-defaults.txt", mbox("1/2", "2/2"))
    put(tmp_path, "src/tests/samples/two-ref-other.txt", mbox("1/2"))
    put(tmp_path, "src/tests/samples/half.mbox", mbox("2/2"))
    put(tmp_path, "src/tests/samples/half-ref-defaults.txt", mbox("1/2", "2/2"))
    put(tmp_path, "src/tests/samples/gone-ref-defaults.txt", mbox("1/2", "2/2"))
    measured = peers_mail.measure_b4(tmp_path)
    row = rows_of(measured)["series"]
    assert row.cases == 2
    assert [(c.file, c.peer, c.lab) for c in row.differences] == [
        ("half.mbox", "plant a tree 1; plant a tree 2", "plant a tree 2")
    ]
    assert [name for name, _ in measured.unread] == ["src/tests/samples/gone.mbox"]


def test_mails_of_patchwork(tmp_path: Path) -> None:
    test = (
        "self._parse_mbox('good.mbox', [1, 2, 0])\n"
        "self._parse_mbox('reply.mbox', [0, 2, 0])\n"
        "self._parse_mbox(name + '.mbox', [0, 2, 0])\n"
    )
    put(tmp_path, "patchwork/tests/test_series.py", test)
    put(tmp_path, "patchwork/tests/series/good.mbox", mbox("0/2", "1/2", "2/2"))
    reply = mbox("1/2", "2/2").replace("Subject: [PATCH 2/2]", "Subject: Re: [PATCH 2/2]")
    put(tmp_path, "patchwork/tests/data/series/reply.mbox", reply)
    row = rows_of(peers_mail.measure_patchwork(tmp_path))["mail-kind"]
    assert row.cases == 2
    assert [(c.file, c.lab) for c in row.differences] == [
        ("reply.mbox", "0 cover letters, 1 patches, 1 replies")
    ]


# ---------------------------------------------------------------- policies and the table


def test_a_policy_covers_what_fits_all_of_its_patterns() -> None:
    row = Row("crash", "r", "s", 2)
    policy = Policy("crash*", "why", file="report/1?", title="*in plum")
    assert policy.covers(row, Difference("report/10", "", "", "BUG in plum"))
    assert policy.covers(row, Difference("report/10 + report/11", "", "", "BUG in plum"))
    assert Policy("crash", "why", file="report/4 + report/7").covers(
        row, Difference("report/4 + report/7", "", "")
    )
    assert not policy.covers(row, Difference("report/10 + report/21", "", "", "BUG in plum"))
    assert not policy.covers(row, Difference("report/10", "", "", "BUG in pear"))
    assert not policy.covers(Row("quiet", "r", "s", 2), Difference("report/10", "", "", "in plum"))


def test_deliberate_differences_are_counted_apart_and_idle_policies_told() -> None:
    row = Row("quiet", "r", "s", 5, (Difference("report/1", "a", "b"),
                                     Difference("report/2", "a", "c")))  # fmt: skip
    used, idle, elsewhere = (
        Policy("quiet", "why", file="report/1"),
        Policy("quiet", "why", file="report/9"),
        Policy("kunit", "why", file="*"),
    )
    judge = Judge((used, idle, elsewhere))
    judged = judge.judge(row, "abc", "2026-11-29")
    assert (judged.agree, len(judged.policies), len(judged.differ)) == (3, 1, 1)
    assert judge.idle() == [idle]  # the other's row was not measured
    assert [entry["policy"] for entry in peers_table.as_entries([judged])] == ["", "why"]
    assert peers_table.as_lines([judged]) == [
        "quiet report/2: a | lab: c", "quiet report/1: a | lab: b | by policy: why",
    ]  # fmt: skip
    assert "| r | s | abc | 5 | 3 | 1 | 1 | 2026-11-29 |" in peers_table.as_markdown([judged])


@pytest.mark.parametrize(
    "text",
    [
        "",
        "policies: none",
        "policies:\n- row: crash\n  reason: of everything\n",
        "policies:\n- row: crash\n  file: a\n",
        "policies:\n- row: crash\n  file: a\n  reason: b\n  more: c\n",
        "policies:\n- row: crash\n  file: 12\n  reason: b\n",
        "policies: [",
    ],
)
def test_a_list_of_policies_that_is_none_is_refused(tmp_path: Path, text: str) -> None:
    with pytest.raises(PeersError, match=r"p\.yaml"):
        peers_table.load_policies(put(tmp_path, "p.yaml", text))


def test_the_list_that_ships_names_rows_that_exist() -> None:
    policies = peers_table.load_policies(peers.POLICY)
    assert all(policy.reason.endswith(".") for policy in policies)


def test_the_commit_is_that_of_the_folder_itself(tmp_path: Path) -> None:
    def git(*words: str) -> str:
        done = subprocess.run(["git", "-C", tmp_path, *words], check=True, capture_output=True)
        return done.stdout.decode().strip()

    git("init", "-q")
    put(tmp_path, "inside/file", "text")
    git("add", ".")
    git("-c", "user.name=a", "-c", "user.email=a@example.com", "commit", "-qm", "one")
    commit = git("rev-parse", "--short=12", "HEAD")
    assert peers_table.commit_of(tmp_path) == commit
    assert peers_table.commit_of(tmp_path / "inside") == "unknown commit"
    put(tmp_path, "inside/file", "other")
    assert peers_table.commit_of(tmp_path) == commit + "+"


# ---------------------------------------------------------------- the command


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = syzkaller(tmp_path / "syz", {
        "report/0": "TITLE: WARNING in plum\n\n" + warning("plum"),
        "report/1": "\n" + warning("plum"),
        "report/2": "TITLE: odd\nno header\n\nlog\n",
        "guilty/0": "FILE: mm/plum.c\n\n" + warning("plum"),
    })  # fmt: skip
    policy = put(
        tmp_path, "p.yaml",
        "policies:\n- {row: quiet, file: report/1, reason: A warning is never quiet.}\n"
        "- {row: crash, file: report/7, reason: It went away.}\n",
    )  # fmt: skip
    told = tmp_path / "told.json"
    status = peers.main(
        ["--syzkaller", str(folder), "--policy", str(policy), "--differences", str(told),
         "--markdown", "--verbose"]
    )  # fmt: skip
    out, err = capsys.readouterr()
    assert status == 1
    assert "not read: pkg/report/testdata/linux/report/2: line 2 is no header" in err
    assert "1 files were not read" in err
    assert "a policy covers no difference: row crash, file report/7, title *" in err
    assert "| kernel log: quiet logs stay quiet | syzkaller" in out
    assert "by policy: A warning is never quiet." in out
    entries = {entry["row"]: entry for entry in json.loads(told.read_text())}
    assert entries["quiet"]["policy"] == "A warning is never quiet."


@pytest.mark.parametrize(
    ("option", "says"),
    [
        ("--syzkaller", "takes a checkout of github.com/google/syzkaller"),
        ("--linux", "takes a kernel source tree"),
        ("--tap-parser", "takes a checkout of github.com/tapjs/tap-parser"),
        ("--git", "takes a checkout of git.git"),
        ("--b4", "takes a checkout of b4"),
        ("--patchwork", "takes a checkout of Patchwork"),
    ],
)
def test_a_folder_without_the_suite_is_wrong_input(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], option: str, says: str
) -> None:
    assert peers.main([option, str(tmp_path)]) == 2
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert says in err
    assert peers.main([option, str(tmp_path / "none")]) == 2
    assert "is not a folder" in capsys.readouterr().err


def test_without_a_folder_there_is_nothing_to_compare(capsys: pytest.CaptureFixture[str]) -> None:
    assert peers.main([]) == 2
    assert "name at least one checkout" in capsys.readouterr().err


def test_reasons_of_kconfig_have_a_row_for_each_question(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    wrong = ["default: unmet: PLUM is n, asked for y: needs PEAR: and a tree"]
    asked = Counter(unmet=3, choice=2)
    monkeypatch.setattr(peers.peers_kconfig, "measure", lambda *_: (asked, Counter(), wrong))
    suite = next(suite for suite in peers.SUITES if suite.option == "kconfiglib")
    rows = {row.reader: row for row in suite.measure(tmp_path, tmp_path).rows}
    unmet = rows[f"Kconfig: {peers.peers_kconfig.QUESTIONS['unmet']}"]
    choice = rows[f"Kconfig: {peers.peers_kconfig.QUESTIONS['choice']}"]
    assert (len(rows), unmet.cases, choice.cases) == (len(peers.peers_kconfig.QUESTIONS), 3, 2)
    assert unmet.differences == (
        Difference("default", "PLUM is n, asked for y", "needs PEAR: and a tree"),
    )
    assert choice.differences == ()
    assert peers.main(["--kconfiglib", str(tmp_path)]) == 2
    assert "--kconfiglib needs --linux too" in capsys.readouterr().err
