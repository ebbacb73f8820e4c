# SPDX-License-Identifier: GPL-2.0-only
"""The HTML report: the answer first, everything escaped, nothing from outside the run."""

import base64
import hashlib
import re
from dataclasses import replace
from types import SimpleNamespace

import pytest
from covered_run import covered_run
from lxml import etree
from lxml import html as lxml_html
from many_cases import many
from sample_run import broken_run, good_run, rss_hit, write_files

from orchestrator import HOME
from orchestrator.judge.compare import FigureChange, compare
from orchestrator.judge.noise import Noise
from orchestrator.model.evidence import Excerpt, Measurement, Sample
from orchestrator.model.judging import Decision, Retried
from orchestrator.model.names import Verdict
from orchestrator.model.results import Change, IssueRecord, WorkloadRecord
from orchestrator.model.searched import BISECT, Searched, SearchStep
from orchestrator.report import html, junit, view
from orchestrator.report.answer import make_answer
from orchestrator.results import store


def page(run, folder=None, comparison=None):
    return lxml_html.document_fromstring(html.render(run, folder, comparison))


def text_of(element):
    return re.sub(r"\s+", " ", element.text_content()).strip()


def with_case(run, **changes):
    cell = run.cells[0]
    cases = (replace(cell.cases[0], **changes), *cell.cases[1:])
    return replace(run, cells=(replace(cell, cases=cases), *run.cells[1:]))


@pytest.fixture
def broken(tmp_path):
    write_files(broken_run(), tmp_path)
    return page(broken_run(), tmp_path)


@pytest.mark.parametrize("name", ["good", "broken", "compared"])
def test_golden(name, tmp_path, golden, monkeypatch):
    # The note's words belong to the table of architectures.
    note = SimpleNamespace(tcg_note="a note on emulation")
    monkeypatch.setattr(view, "ARCHES", {"arm64": note})
    run = good_run() if name == "good" else broken_run()
    write_files(run, tmp_path)
    against = compare(good_run(), run, "cli", "cli") if name == "compared" else None
    golden(f"{name}.html", html.render(run, tmp_path, against))


def test_the_page_carries_its_stylesheet_and_script_verbatim():
    # The golden pages leave them out.
    templates = HOME / "orchestrator" / "report" / "templates"
    style = (templates / "report.css").read_text(encoding="utf-8")
    script = (templates / "report.js").read_text(encoding="utf-8")
    source = html.render(broken_run(), None)
    assert source.count(f"<style>{style}</style>") == 1
    assert source.count(f"<script>{script}</script>") == 1
    assert (source.count("<style"), source.count("<script")) == (1, 1)


def test_it_can_be_made_again_from_what_is_stored(tmp_path):
    run = broken_run()
    write_files(run, tmp_path)
    store.save(run, tmp_path)
    assert html.render(store.load(tmp_path), tmp_path) == html.render(run, tmp_path)


def test_the_answer_comes_first(broken):
    top = broken.find_class("answer")[0]
    assert "error" in top.get("class")
    words = text_of(top)
    assert "4 of 16 cases failed, 1 could not be judged because the host failed" in words
    assert "11 pass, 4 fail, 0 skipped, 1 error" in words
    assert words.startswith("! error WARNING at mm/userfaultfd.c in move_swap_pte in ledger/swap: ")
    assert "Exit status 3, the host failed" in words


def test_good_unfinished_and_empty_runs():
    run = good_run()
    assert make_answer(run, None).state == "pass"
    assert make_answer(run, None).judged.short == "No case failed"
    cut = replace(run, run=replace(run.run, finished=""))
    assert make_answer(cut, None).state == "unfinished"
    assert "did not finish" in text_of(page(cut).find_class("answer")[0])
    stopped = replace(run, run=replace(run.run, exit_status=130))
    assert make_answer(stopped, None).state == "interrupted"
    nothing = replace(run, kernels=(), builds=(), cells=())
    assert "no case was executed" in text_of(page(nothing).find_class("answer")[0])
    page(replace(run, run=replace(run.run, exit_status=77, started="", finished="soon")))


def test_a_search_has_its_answer_as_headline_and_its_trials_as_a_table():
    cell = "cli/default/x86_64/small"
    steps = (
        SearchStep("without any patch", "", 0, 40),
        SearchStep("patch 1 of 2: mm: one", cell, 7, 9, guilty=True),
        SearchStep("patch 2 of 2: mm: two", "", note="it does not build"),
    )
    found = Searched(BISECT, "patch 1 of 2 brought it: mm: one", True, steps, "patch 1 of 2",
                     (1,), 0.999, f"{cell}:w:c", "r1")  # fmt: skip
    run = replace(good_run(), searched=found)
    document = page(run)
    top = document.find_class("answer")[0]
    assert "searched" in top.get("class")
    assert text_of(top.find("h1")) == "→ searched Patch 1 of 2 brought it: mm: one."
    assert f"Searched for {cell}:w:c of run r1 in 49 trials." in text_of(top)
    assert not top.find_class("counts")
    table = document.get_element_by_id("search").iter("tr")
    rows = [[text_of(cell) for cell in row] for row in table]
    assert rows[1:] == [
        ["without any patch", "0", "40", "", ""],
        ["patch 1 of 2: mm: one", "7", "9", "", "✗ brings it"],
        ["patch 2 of 2: mm: two", "\u2013", "○ not tried", "it does not build"],
    ]  # fmt: skip
    assert "patch 1 of 2: mm: one" in [
        link.text for link in document.get_element_by_id("search").iter("a")
    ]
    # The patch that it names says so in its row.
    assert "✗ brought (99.9%)" in text_of(document.get_element_by_id("patches"))


def test_matrix_has_colour_and_words(broken):
    rows = [[text_of(c) for c in row] for row in broken.find_class("matrix")[0].iter("tr")]
    assert rows[0][1:] == ["x86_64", "arm64"]
    assert rows[1][1:] == [
        "✗ fail2 fail, 4 passtcg, boot 4.1 s",
        "! error1 error, 4 passtcg, boot 4.8 s",
    ]
    assert rows[2] == ["clino-thp", "✗ faildoes not build", "\N{EN DASH}"]
    assert "series does not apply" in rows[3][1]
    assert "weak" in text_of(broken.get_element_by_id("matrix"))


def test_what_fails_as_expected_is_met_and_not_red():
    run = broken_run()
    bad = next(kernel for kernel in run.kernels if kernel.failure)
    kernels = tuple(replace(k, expected="does not apply") if k is bad else k for k in run.kernels)
    builds = tuple(
        replace(b, verdict=Verdict.PASS, expected="implicit") if b.verdict is Verdict.FAIL else b
        for b in run.builds
    )
    found = page(replace(run, kernels=kernels, builds=builds))
    rows = [[text_of(c) for c in row] for row in found.find_class("matrix")[0].iter("tr")]
    assert rows[2][1] == "◆ as expecteddoes not build: implicit"
    assert rows[3][1] == "◆ as expectedseries does not apply"
    box = found.get_element_by_id(view.series_anchor(bad.name)).find_class("box")[0]
    assert box.get("class") == "box met"


def test_every_link_leads_somewhere(broken):
    ids = {e.get("id") for e in broken.iter() if e.get("id")}
    links = [a.get("href") for a in broken.iter("a")]
    assert len(ids) == len([e for e in broken.iter() if e.get("id")])
    assert all(link[1:] in ids for link in links if link.startswith("#"))
    files = [link for link in links if not link.startswith("#")]
    assert files
    assert all(link.split("/")[0] in ("cells", "builds") for link in files)


def test_the_headline_leads_to_the_evidence_that_it_quotes(broken):
    quote = "WARNING at mm/userfaultfd.c in move_swap_pte"
    link, once, more = broken.find_class("answer")[0].findall("h1/a")
    assert link.text.startswith(quote)
    box = broken.get_element_by_id(link.get("href")[1:])
    assert box.get("open") is not None
    assert quote in [text_of(title) for title in box.find_class("t")]
    assert (once.text, once.get("href")) == (
        "seen once, not tried again, and compared with nothing", link.get("href")
    )  # fmt: skip
    assert (more.text, more.get("href")) == ("and 6 more causes", "#bad")


def test_a_cause_shows_the_evidence_of_its_first_case_and_links_to_the_rest(broken):
    boxes = broken.find_class("cause")
    assert [box.get("id") for box in boxes] == [f"cause-{n + 1}" for n in range(len(boxes))]
    titles = [text_of(box.find("h3")) for box in boxes]
    assert titles[0].startswith("1. ✗ fail WARNING at mm/userfaultfd.c in move_swap_pte")
    shown = [box.find("details").get("id") for box in boxes if box.find("details") is not None]
    assert len(set(shown)) == len(shown)
    assert shown[0] == "case=cli/default/x86_64/small:ledger/swap:kernel-log"
    # In its cell the case leads there, and says nothing twice.
    row = broken.get_element_by_id("cells").find_class("fail")
    links = [a.get("href") for one in row for a in one.findall("a")]
    assert f"#{shown[0]}" in links


def test_causes_are_open_first_and_cases_in_their_cells_closed(broken):
    cells = broken.get_element_by_id("cells")
    for box in cells.find_class("group"):
        inner = " ".join(case.get("class") for case in box.find_class("case"))
        assert (box.get("open") is not None) is ("fail" in inner or "error" in inner)
    assert not [box for box in cells.find_class("case") if box.get("open") is not None]
    opened = [box for box in broken.get_element_by_id("bad").find_class("case")
              if box.get("open") is not None]  # fmt: skip
    assert 1 <= len(opened) <= html.Limits().open_causes


def excused_run():
    run = good_run()
    first = run.cells[0]
    known = replace(first.cases[1], verdict=Verdict.SKIP, judged="fail: so",
                    known="it is known; docs/findings.md")  # fmt: skip
    issues = (
        IssueRecord(known.known, "sig", "title", state="seen", seen=1),
        IssueRecord("never seen", "other", "(?m)^odd", state="not tried"),
    )
    cells = (replace(first, cases=(first.cases[0], known, *first.cases[2:])), *run.cells[1:])
    return replace(run, cells=cells, known_issues=issues)


def test_known_failures_and_skips_are_counted_linked_and_listed():
    found = page(excused_run())
    counts = found.find_class("counts")[0]
    assert text_of(counts) == "14 pass, 0 fail, 1 known failure, 1 skipped"
    links = [(text_of(a), a.get("href")) for a in counts.findall("a")]
    assert links == [("14 pass", "#cells"), ("1 known failure", "#known"),
                     ("1 skipped", "#skipped")]  # fmt: skip
    skips = text_of(found.get_element_by_id("skipped"))
    assert "transparent huge pages are off in this guest: 1 case" in skips
    assert "cli/default/arm64/small:move/basic:thp-aligned" in skips
    known = found.get_element_by_id("known")
    assert "◆ seen it is known: 1 case" in text_of(known)
    assert "See docs/findings.md of the lab." in text_of(known)
    assert "contents-move" in text_of(known)
    assert "1 known issue was not tried here" in text_of(known)
    assert not [box for box in known.iter("details") if box.get("open") is not None]
    box = found.get_element_by_id("case=cli/default/x86_64/small:move/basic:contents-move")
    assert "met" in box.get("class")
    assert "◆ known failure" in text_of(box.find("summary"))
    slots = [text_of(td) for td in found.find_class("matrix")[0].iter("td")]
    assert slots[0] == "◆ pass1 known failure, 5 passtcg, boot 4.1 s"
    assert slots[1] == "✓ pass1 skipped, 6 passtcg, boot 4.8 s"


def test_the_patches_stand_above_the_causes(broken):
    order = [section.get("id") for section in broken.iter("section")]
    assert order.index("patches") < order.index("bad") < order.index("cells")
    assert order.index("cells") < order.index("kernels")
    rows = [[text_of(c) for c in row] for row in broken.get_element_by_id("patches").iter("tr")]
    assert rows[1][:4] == ["1", "userfaultfd: count the pages a move takes",
                           "Ada Example <ada@example.org>", "✓ yes"]  # fmt: skip
    assert [row[3] for row in rows] == ["applies", "✓ yes", "✓ yes", "applies", "✓ yes", "✗ no"]


def test_a_long_series_is_folded():
    run = good_run()
    many = tuple(replace(run.kernels[0].series[0], n=n) for n in range(1, 40))
    found = page(replace(run, kernels=(replace(run.kernels[0], series=many),)))
    box = found.get_element_by_id("patches").find("details")
    assert text_of(box.find("summary")) == "39 patches"
    assert box.get("open") is None


def test_evidence_of_the_failing_case(broken):
    words = text_of(broken.get_element_by_id("bad"))
    assert "BUG: Bad rss-counter state type:MM_SWAPENTS" in words
    assert "userfaultfd_move+0x108/0x1f0" in words
    assert words.count("val:-64") == 1  # the same text is not shown twice
    drifts = [text_of(cell) for cell in broken.find_class("drift")]
    assert drifts == ["+64 ✗", "-64 ✗", "+64 ✗", "+64 ✗", "-64 ✗"]
    words = text_of(broken)
    assert "lab rerun 20240105-142233-smoke" in words
    assert "qemu-system-x86_64 -machine q35" in words
    assert "move1,843MB/s" in words


def test_kernels_builds_and_configs(broken):
    kernels = text_of(broken.get_element_by_id("kernels"))
    assert "patch 2 (mm: a patch for another base) does not apply" in kernels
    assert "1181 double_pt_unlock" in kernels
    builds = text_of(broken.get_element_by_id("builds"))
    assert "mm/userfaultfd.c:1187 implicit declaration" in builds
    assert "CONFIG_DEBUG_VM: debug-vm.config asks for y, got n; unmet: DEBUG_KERNEL=n" in builds
    configs = broken.get_element_by_id("configs")
    tables = list(configs.iter("table"))
    assert [text_of(c) for c in tables[0].findall(".//tr")[1]] == ["TRANSPARENT_HUGEPAGE", "y", "n"]
    assert "DEBUG_VM" not in text_of(configs)


def test_every_case_has_its_command(broken):
    commands = {text_of(e) for e in broken.iter("code")}
    for cell in broken_run().cells:
        for case in cell.cases:
            assert case.rerun in commands


def test_self_contained(broken):
    source = html.render(broken_run(), None)
    assert not re.search(r'(src|href)="(https?:)?//', source)
    assert "url(" not in source
    assert "@import" not in source
    script = broken.find(".//script").text
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert f"script-src 'sha256-{digest}'" in source  # lets nothing else run
    assert len(list(broken.iter("script"))) == 1


HOSTILE = "</pre></title></style><script>alert(1)</script><img src=x onerror=alert(1)>'\"\x00\udcff"


def test_hostile_text_stays_text():
    """Every text of a run that a guest, a patch or a compiler could have written."""

    def poison(value):
        if isinstance(value, Verdict | Change | Sample):
            return value
        if isinstance(value, str):
            return HOSTILE
        if isinstance(value, tuple):
            return tuple(poison(item) for item in value)
        if isinstance(value, dict):
            return {f"{HOSTILE}{n}": poison(v) for n, v in enumerate(value.values())}
        if hasattr(value, "__dataclass_fields__"):
            return replace(value, **{n: poison(v) for n, v in vars(value).items()})
        return value

    run = poison(broken_run())
    run = replace(run, cells=tuple(replace(c, cases=tuple(
        replace(k, id=f"{HOSTILE}:{n}", workload=f"{HOSTILE}{n % 2}", samples=(
            Sample(0, {f"RssAnon{HOSTILE}": 1}), Sample(1, {f"RssAnon{HOSTILE}": 2})))
        for n, k in enumerate(c.cases))) for c in run.cells))  # fmt: skip
    for comparison in (None, compare(broken_run(), run)):
        source = html.render(run, None, comparison)
        source.encode("utf-8")
        document = lxml_html.document_fromstring(source)
        assert len(list(document.iter("script"))) == 1
        assert not list(document.iter("img"))
        assert not [a for a in document.iter("a") if a.get("href", "").startswith("javascript")]
        assert not [e for e in document.iter() if any(n.startswith("on") for n in e.attrib)]
        assert "\\x00\\xff" in source


@pytest.mark.parametrize(
    ("path", "link"),
    [
        ("cells/a/console.log", "cells/a/console.log"),
        ("cells/a b/x'\"<.log", "cells/a%20b/x%27%22%3C.log"),
        ("../../etc/passwd", ""),
        ("cells/../../x", ""),
        ("/etc/passwd", ""),
        ("javascript:alert(1)", ""),
        ("https://example.org/x", ""),
        ("", ""),
        (".", ""),
        ("cells/\ud800", ""),
        ("cells/\udcff", "cells/%FF"),
    ],
)
def test_links_stay_in_the_run(path, link):
    assert html.href(path) == link


def test_configs_outside_the_run_are_not_read(tmp_path):
    (tmp_path / "secret").write_text("CONFIG_SECRET=y\n")
    folder = tmp_path / "run"
    run = good_run()
    write_files(run, folder)
    paths = ("../secret", str(tmp_path / "secret"))
    for path in paths:
        cells = tuple(replace(c, kernel_config=path) for c in run.cells)
        assert "SECRET" not in html.render(replace(run, cells=cells), folder)
    link = folder / "cells" / "link"
    link.symlink_to(tmp_path / "secret")
    cells = tuple(replace(c, kernel_config="cells/link") for c in run.cells)
    assert "SECRET" not in html.render(replace(run, cells=cells), folder)


def test_the_regression_report_leads_with_regressions():
    run = broken_run()
    document = page(run, None, compare(good_run(), run, "cli", "cli"))
    top = text_of(document.find_class("answer")[0])
    assert "Against 20240105-112233-smoke cli: 4 regressed, 2 gone" in top
    assert "WARNING at mm/userfaultfd.c in move_swap_pte in ledger/swap" in top
    sections = [s.get("id") for s in document.iter("section")]
    assert sections[:2] == ["patches", "comparison"]
    rows = [
        [text_of(c) for c in row] for row in document.get_element_by_id("comparison").iter("tr")
    ]
    assert ["RssAnon", "18", "82", "18", "0", "18", "146", "82", "+64 ✗"] in rows
    heads = [text_of(h) for h in document.get_element_by_id("comparison").iter("h3")]
    assert heads == ["Regressed: 4"]


def test_what_further_trials_came_to_stands_with_the_case():
    tried = Retried(Decision.FLAKY, 6, 40, 8, 40, "cli")
    text = text_of(page(with_case(broken_run(), retried=tried)))
    told = "Judged: flaky on both: fails 6 of 40 with the series, 8 of 40 without"
    assert text.count(told) == 1
    assert "Judged:" not in text_of(page(broken_run()))


def test_no_regression_is_a_pass_unless_the_host_failed():
    run = good_run()
    assert make_answer(run, compare(run, run)).state == "pass"
    lost = with_case(run, verdict=Verdict.ERROR)
    assert make_answer(lost, compare(lost, lost)).state == "error"
    assert make_answer(lost, compare(run, lost)).state == "error"
    faster = with_case(run, verdict=Verdict.FAIL)
    words = text_of(page(run, None, compare(faster, run)).find_class("answer")[0])
    assert "1 fixed" in words


def test_measurements_side_by_side():
    old, new = good_run(), good_run()
    slow = tuple(replace(m, value=m.value / 2) for m in new.cells[0].cases[3].measurements)
    cases = list(new.cells[0].cases)
    cases[3] = replace(cases[3], measurements=slow)
    new = replace(new, cells=(replace(new.cells[0], cases=tuple(cases)), new.cells[1]))
    assert "-50.0 %" in html.render(new, None, compare(old, new))


def test_ways_to_measure_stand_in_one_table():
    measured = (
        Measurement("move-throughput", 1843.2, "MB/s"),
        Measurement("move-throughput-spread", 2.54, "%"),
        Measurement("copy-throughput", 611.75, "MB/s"),
    )
    run = page(with_case(good_run(), measurements=measured))
    words = text_of(run.find_class("figures")[0])
    assert words == "measurementunitmovecopy throughputMB/s1,843 ± 1.3 %611.80.33x"


def test_changes_beyond_noise_are_told(tmp_path):
    run = good_run()
    change = FigureChange("k:w:c", "move-throughput", "MB/s", 1843.0, 900.0, -51.2, "worse",
                          Noise(0.05, 7, 6), (2.5, None))  # fmt: skip
    text = html.render(run, None, compare(run, run), (change,))
    words = text_of(lxml_html.document_fromstring(text))
    assert "1 measurement on both sides: 1 worse. No verdict depends on a measurement." in words
    assert "1,843900.0MB/s-51 %5.1 % in 7 runs" in words


def test_what_no_line_of_the_console_says_has_none():
    """As a hang that was seen by looks at the guest."""
    seen = replace(rss_hit(), line=0)
    page = html.render(with_case(good_run(), verdict=Verdict.FAIL, hits=(seen,)), None)
    assert "seen from outside of the guest" in page
    assert "line 0" not in page


def test_a_flood_stays_readable():
    big = replace(rss_hit(), text="WARNING: line\n" * 100_000)
    many = tuple(Sample(n / 10, {"RssAnon": n % 97, "VmSwap": 3}) for n in range(20_000))
    run = with_case(good_run(), verdict=Verdict.FAIL, hits=(big,) * 5000, samples=many)
    assert len(html.render(run, None)) < 400_000


# ---------------------------------------------------------------- the parts


def test_svg_is_well_formed(broken):
    titles = []
    for svg in broken.iter("svg"):
        etree.fromstring(etree.tostring(svg))
        titles.append(svg.find("title").text)
        assert svg.get("role") == "img"
        for identity in svg.get("aria-labelledby").split():
            assert svg.getroottree().xpath("//*[@id=$i]", i=identity)
    assert titles == ["RssAnon against the page walk, process 213",
                      "VmSwap against the page walk, process 213"]  # fmt: skip
    live = [svg.find("title").text for svg in page(good_run()).iter("svg")]
    assert live == ["RssAnon and VmSwap over time: ledger/swap"] * 2  # a cell each


def test_the_compiler_of_each_build_is_told():
    run = good_run()
    builds = tuple(replace(b, compiler="Debian clang version 14.0.6") for b in run.builds)
    assert "clang" not in html.render(run, None)
    assert "<dd>Debian clang version 14.0.6</dd>" in html.render(replace(run, builds=builds), None)
    told = junit.render(replace(run, builds=builds))
    assert 'name="compiler" value="Debian clang version 14.0.6"' in told


def test_what_is_mailed_has_the_console_the_check_and_what_it_is_about(tmp_path):
    run = with_case(broken_run(), verdict=Verdict.FAIL, reason="swap.c:68: got 0, expected <1>")
    case = run.cells[0].cases[0]
    lines = Excerpt(67, "\tint a;\n\tcheck(a == <1>);\n}")
    about = WorkloadRecord(case.workload, "Boots & waits.", "swap.c", {"swap.c:68": lines})
    run = replace(run, workloads=(about,))
    write_files(run, tmp_path)
    console = "".join(f"line {n} \x1b[1m<b>\n" for n in range(100))
    (tmp_path / run.cells[0].console_log).write_text(console)
    found = page(run, tmp_path)
    box = found.get_element_by_id(view.anchor(case.id))
    assert "Boots & waits." in text_of(box)
    assert "The check that failed: swap.c:68" in text_of(box)
    (here,) = box.find_class("here")
    assert here.text == "   68          check(a == <1>);\n"
    tail = next(d for d in box.iter("details") if "console" in text_of(d.find("summary")))
    shown = tail.find("pre").text.split("\n")
    assert len(shown) == 40
    assert shown[-1] == "line 99 \\x1b[1m<b>"
    assert tail.get("open") is None
    group = found.get_element_by_id("cells").find_class("about")
    assert text_of(group[0]) == "Boots & waits."
    assert "The end of the console" not in html.render(run, None)


def test_no_console_from_outside_the_run(tmp_path):
    folder = tmp_path / "run"
    run = broken_run()
    write_files(run, folder)
    (tmp_path / "secret").write_text("SECRET\n")
    for path in ("../secret", str(tmp_path / "secret"), "cells/../../secret"):
        cells = tuple(replace(c, console_log=path) for c in run.cells)
        assert "SECRET" not in html.render(replace(run, cells=cells), folder)


def test_the_patches_stand_there_with_each_line_marked():
    shown = page(covered_run())
    section = shown.get_element_by_id("coverage")
    assert shown.xpath("//nav/a[@href='#coverage']")
    counts = shown.xpath("//p[@class='counts']")[0].text_content()
    assert counts.endswith(", 50 % of the series' lines ran")
    lines = section.xpath(".//span[@class='ran' or @class='never' or @class='none']")
    assert [" ".join(line.text_content().split()) for line in lines] == [
        "✓ 11 + if (<none>)", "✓ 12 + return -1;", "✗ 13 + drop();", "· 14 + /* a remark */",
        "✗ 31 + other();",
    ]  # fmt: skip
    beside = section.xpath(".//div[@class='ran-alike']/p")
    assert "7 workloads: a/b, a/c and 5 more" in beside[0].text_content()
    assert [a.get("href") for a in section.xpath(".//a")] == [
        f"cells/coverage__{arch}/coverage.json" for arch in ("x86_64", "arm64")
    ]
    assert 'id="coverage"' not in html.render(good_run(), None)


def test_a_run_with_ten_thousand_cases_names_what_passed_alone() -> None:
    """Its page can be opened, and still has all of what did not pass, and every name."""
    small, large = many(html.Limits.boxes), many(html.Limits.boxes + 2)
    assert "names its cases alone" not in html.render(small, None)
    page = html.render(large, None)
    assert (
        f"More than {html.Limits.boxes} cases: a workload that passed names its cases alone" in page
    )
    failed = [case for cell in large.cells for case in cell.cases if case.verdict is Verdict.FAIL]
    assert len(failed) > 50
    assert all(f'id="{view.anchor(case.id)}"' in page for case in failed)
    passed = [case for cell in large.cells for case in cell.cases if case.verdict is Verdict.PASS]
    assert all(case.case in page for case in passed)
    boxes = [case for case in passed if f'id="{view.anchor(case.id)}"' in page]
    # Those of workloads of which another case failed.
    assert {case.workload for case in boxes} == {case.workload for case in failed}
    assert 0 < len(boxes) < len(passed) / 5
