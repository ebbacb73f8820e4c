# SPDX-License-Identifier: GPL-2.0-only
from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.kernel.series import subject


@pytest.mark.parametrize(
    ("line", "version", "n", "total"),
    [
        ("[PATCH] a", (1,), None, None),
        ("[PATCH RFC v3 02/10] a", (3,), 2, 10),
        ("[RFC PATCH -mm v2 2/3] a", (2,), 2, 3),
        ("[PATCH 6.1.y 3/4] a", (1,), 3, 4),
        ("[PATCH v6.1.y 3/4] a", (1,), 3, 4),
        ("[PATCH v6.12-rc3 3/4] a", (1,), 3, 4),
        ("[PATCH v5.15 v2 3/4] a", (2,), 3, 4),
        ("[PATCH AUTOSEL 5.10 12/57] a", (1,), 12, 57),
        ("[PATCH net-next,v3,2/5] a", (3,), 2, 5),
        ("[PATCH v3,2/5] a", (3,), 2, 5),
        ("[PATCH v3: 2/5] a", (3,), 2, 5),
        ("[PATCH 2/5, v3] a", (3,), 2, 5),
        ("[V3 2/5] PATCH", (3,), 2, 5),
        ("[PATCH v2 2/5 v3] a", (2, 3), 2, 5),
        ("[PATCH v3 2/5 v3] a", (3,), 2, 5),
        ("[PATCH -V2] a", (2,), None, None),
        ("[PATCH (v2) 1/2] a", (2,), 1, 2),
        ("[PATCHv2 1/2] a", (2,), 1, 2),
        ("[RFCv2 1/2] a", (2,), 1, 2),
        ("[PATCHv2/RFC 1/2] a", (2,), 1, 2),
        ("[PATCH/RFC 1/2] a", (1,), 1, 2),
        ("[PATCH v2-resend 1/2] a", (2,), 1, 2),
        ("[PATCH RESEND v2 1/2] a", (2,), 1, 2),
        ("[PATCH v2.1 2/2] a", (2, 1), 2, 2),
        ("[PATCH v2a 2/2] a", (2, 1), 2, 2),
        ("[PATCH take 2] a", (2,), None, None),
        ("[PATCH, try #3] a", (3,), None, None),
        ("[PATCH take2 1/3] a", (2,), 1, 3),
        ("[PATCH version 2 1/3] a", (2,), 1, 3),
        ("[PATCH][v2][1/2] a", (2,), 1, 2),
        ("[PATCH] [RFC] [1/2] a", (1,), 1, 2),
        ("[PATCH [v2 1/2]] a", (2,), 1, 2),
        ("[[PATCH v2 1/2]] a", (2,), 1, 2),
        ("[PATCH1/3] a", (1,), 1, 3),
        ("[PATCH100/123] a", (1,), 100, 123),
        ("[v2PATCH1/4] a", (2,), 1, 4),
        ("[v2.3PATCH1/4] a", (2, 3), 1, 4),
        ("[PATCH 1 of 3] a", (1,), 1, 3),
        ("[PATCH 0 of 12] a", (1,), 0, 12),
        ("[PATCH v10 00/12] a", (10,), 0, 12),
        ("[PATCH v2/5] a", (1,), 2, 5),
        ("[PATCH 1/n] a", (1,), 1, None),
        ("[PATCH 2/N v2] a", (2,), 2, None),
        ("[PATCH (1/2)] a", (1,), 1, 2),
        ("[PATCH 2023/09/23] a", (1,), None, None),
        ("[PATCH drivers/2/3] a", (1,), None, None),
        ("[PATCH 2.5/5] a", (1,), None, None),
        ("[PATCH 4.19 12/57][net 1/2] a", (1,), 12, 57),
        ("[PATCH] mm: fix 2/2 split, v2 of it", (1,), None, None),
        ("[PATCH] 1/2: a", (1,), 1, 2),
        ("PATCH 1/2: a", (1,), 1, 2),
        ("[PATCH] (1/2) a", (1,), 1, 2),
        ("***SPAM*** [PATCH v2 1/2] a", (2,), 1, 2),
        ("mm: [PATCH 1/2] a", (1,), 1, 2),
        ("mm: a (v2)", (2,), None, None),
        ("[linux-mm] [PATCH 1/2] a", (1,), 1, 2),
    ],
)
def test_tags_in_the_spellings_of_the_lists(line, version, n, total):
    marks = subject.read(line)
    assert (marks.version, marks.n, marks.total, marks.reply) == (version, n, total, False)
    assert not marks.unknown


@pytest.mark.parametrize(
    "prefix", ["Re:", "RE :", "Aw:", "Fwd:", "Re[2]:", "Re: Re:", "[mm] Re:", "RE"]
)
def test_a_prefix_before_a_tag_is_an_answer(prefix):
    marks = subject.read(f"{prefix} [PATCH v2 1/2] a")
    assert (marks.reply, marks.version, marks.n, marks.title) == (True, (2,), 1, "a")


def test_a_prefix_alone_needs_a_thread():
    assert not subject.read("re: mend it").reply
    assert subject.read("re: mend it", answers=True).reply
    assert subject.read("[mm] re: mend it", answers=True).reply
    assert not subject.read("[PATCH 1/2] re: mend it", answers=True).reply
    assert not subject.read("mend it", answers=True).reply


def test_a_mark_like_a_version_is_named():
    assert subject.read("[PATCH v2bis 1/2] a").unknown == "v2bis"
    assert subject.read("[PATCH vmscan 1/2] a").unknown == ""


def test_versions_compare_as_people_count():
    assert (1,) < (2,) < (2, 1) < (2, 2) < (3,) < (10,)
    assert subject.spelled((2, 1)) == "v2.1"


@given(st.integers(1, 99), st.integers(0, 400), st.sampled_from([" ", ",", ", "]), st.booleans())
def test_what_format_patch_writes_is_read_back(version, n, comma, rfc):
    tag = comma.join([*(["RFC"] if rfc else []), "PATCH", f"v{version}", f"{n:03}/400"])
    marks = subject.read(f"[{tag}] mm: x")
    assert (marks.version, marks.n, marks.total, marks.title) == ((version,), n, 400, "mm: x")


@given(st.text(max_size=60))
def test_any_subject_is_read(line):
    subject.read(line)
    subject.read(f"[{line}] Re: [PATCH {line}] x", answers=True)
