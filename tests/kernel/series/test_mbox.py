# SPDX-License-Identifier: GPL-2.0-only
from __future__ import annotations

import re
import time

import pytest
from fake_mails import MBOXRD, change, mbox, message, save, subjects
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.kernel.series.load import load_series
from orchestrator.kernel.series.mbox import is_mail, split
from orchestrator.model.errors import UserError

TWO = [message(f"[PATCH {n}/2] {n}", "", change(f"{n}")) for n in (1, 2)]
SEPARATORS = [
    b"From ann@example.org Sat Sep 23 01:31:45 2023",  # mutt, hyperkitty
    b"From ann at example.org  Sat Sep 23 01:31:45 2023",  # Mailman's text files
    b"From - Sat Sep 23 01:31:45 2023",  # Thunderbird
    b"From 1777@xxx Sat Sep 23 01:31:45 +0000 2023",  # Gmail takeout
    b"From ann@example.org Sat Sep 23 01:31:45 MET DST 2023",  # MMDF, old Unix
    b"From ann@example.org Sat Sep 23 01:31 2023",  # System V
    b"From 0123456789012345678901234567890123456789 Mon Sep 17 00:00:00 2001",  # format-patch
    b"From git@z Thu Jan  1 00:00:00 1970",  # b4 am
    b"From mboxrd@z Thu Jan  1 00:00:00 1970",  # lore
    b"From ann@example.org Sat, 23 Sep 2023 01:31:45 +0000",  # a date of RFC 5322 in it
    b"From nobody",
    b"From ann@example.org  2023-09-23T01:31:45Z",
]


@pytest.mark.parametrize("separator", SEPARATORS)
@pytest.mark.parametrize("end", [b"\n", b"\r\n"])
def test_separators_of_mail_programs(tmp_path, separator, end):
    data = mbox(*TWO, separator=separator + b"\n").replace(b"\n", end)
    assert subjects(save(tmp_path, data)) == ["1", "2"]


@pytest.mark.parametrize(
    "before", [b"\n", b"  \n", b"\r\n \t\r\n", b"\xef\xbb\xbf", b"\xef\xbb\xbf\n"]
)
def test_blank_lines_and_a_mark_before_the_first_mail_are_nothing(tmp_path, before):
    for data in (mbox(*TWO), mbox(*TWO, separator=b"From nobody\n")):
        assert subjects(save(tmp_path, before + data)) == ["1", "2"]


def test_a_mailbox_without_blank_lines_between_or_a_last_newline(tmp_path):
    tight = mbox(*(mail.rstrip(b"\n") + b"\n" for mail in TWO))
    assert subjects(save(tmp_path, tight)) == ["1", "2"]
    assert subjects(save(tmp_path, tight.rstrip(b"\n"))) == ["1", "2"]


@pytest.mark.parametrize(
    "line",
    [
        "From the trace of 10:20:30 on, all through 2023, it was slow.",
        "From 10:20:30 2023 on it was slow.",
        "From user space:\nNote: this matters.",
        "From Mon Sep 17 00:00:00 2001 on it was slow",
        "From\nTo: nowhere",
        "From here: there",
    ],
)
@pytest.mark.parametrize("quote", ["", ">", ">>"])
def test_prose_that_begins_with_from_parts_nothing(tmp_path, line, quote):
    body = f"Text.\n\n{quote}{line}\n\nText:\nFrom here.\n"
    mails = [message(f"[PATCH {n}/2] {n}", body, change(f"{n}")) for n in (1, 2)]
    assert subjects(save(tmp_path, mbox(*mails))) == ["1", "2"]


def test_mails_without_separators_are_not_one_patch(tmp_path):
    assert subjects(save(tmp_path, b"".join(TWO))) == ["1", "2"]
    assert subjects(save(tmp_path, TWO[0] + mbox(TWO[1]))) == ["1", "2"]
    assert subjects(save(tmp_path, b"Saved by me\n\n" + b"".join(TWO))) == ["1", "2"]
    assert subjects(save(tmp_path, b"Saved by me\n\n" + mbox(*TWO))) == ["1", "2"]
    with pytest.raises(UserError, match="lacks patch 1 of 2"):
        load_series(save(tmp_path, b"Saved by me\n\n" + mbox(TWO[1], message("Lunch?"))))


def test_a_diff_before_the_first_mail_is_not_lost(tmp_path):
    mail = message("[PATCH 1/1] a", "", change("a"))
    series = load_series(save(tmp_path, change("bare").encode() + b"\n" + mbox(mail)))
    assert any("no number in the series" in note for note in series.notes)
    assert [p.subject for p in series.patches] == ["a"]
    both = change("bare").encode() + b"\n" + mbox(message("[PATCH] a", "", change("a")))
    assert len(load_series(save(tmp_path, both)).patches) == 2


def test_heads_quoted_above_the_patch_part_nothing(tmp_path):
    quoted = "----- Forwarded -----\n\nFrom: Joe <j@x>\nSubject: a bug\n\nIt hangs."
    data = message("[PATCH] a", quoted, change("a"))
    assert subjects(save(tmp_path, data)) == ["a"]
    assert subjects(save(tmp_path, mbox(data))) == ["a"]


def test_quoting_is_undone_once_and_only_in_a_mailbox():
    body = b"Subject: x\n\n>From a\n>>From b\n> From c\n>Fromage\n"
    assert list(split(MBOXRD + body)) == [b"Subject: x\n\nFrom a\n>From b\n> From c\n>Fromage\n"]
    assert list(split(body)) == [body]
    git = b"Subject: x\n\n>From " + b"0" * 40 + b" Mon Sep 17 00:00:00 2001\nFrom: a\n"
    assert list(split(MBOXRD + git)) == [git]  # git mailinfo wants that one quoted


def test_a_quoted_separator_is_no_head():
    assert list(split(MBOXRD + b">From x Sat Sep 23 01:31:45 2023\nFrom: a\n\nb\n")) == [
        b"From: a\n\nb\n"
    ]


def test_what_a_head_is():
    assert is_mail(b"Subject: a\n\n")
    assert is_mail(b"X-Mozilla-Status: 0001\nfrom : a\r\n\r\n")
    assert is_mail(b"Date: x\nbroken line\n\n")
    assert not is_mail(b"Description: a\nAuthor: b\n\n")
    assert not is_mail(b"Index: mm/a.c\n--- a\n+++ b\n+To: x\n")
    assert not is_mail(b"Note: a\n\nFrom: a\n")
    assert not is_mail(b"")


LINES = st.sampled_from(
    [
        "",
        "From me",
        "From: a",
        ">From x",
        ">>From x",
        "text",
        "To: y",
        "From x 1:00:00 on 2023",
        " ",
    ]
)
WRITERS = {
    "mboxrd": lambda text: re.sub(r"^(>*From )", r">\1", text, flags=re.MULTILINE),
    "mboxo": lambda text: re.sub(r"^(From )", r">\1", text, flags=re.MULTILINE),
    "mboxcl2": lambda text: text,
}


@pytest.mark.parametrize("kind", sorted(WRITERS))
@pytest.mark.parametrize("separator", [SEPARATORS[0], SEPARATORS[2], b"From nobody"])
@given(bodies=st.lists(st.lists(LINES, max_size=8), min_size=1, max_size=4))
def test_what_a_mail_program_joins_is_split_again(kind, separator, bodies):
    head = "From: Ann <a@x>\nSubject: [PATCH] x\n\n"
    texts = ["\n".join([*lines, ""]) for lines in bodies]
    joined = b"".join(
        separator + b"\n" + (head + WRITERS[kind](text)).encode() + b"\n" for text in texts
    )
    got = [part.decode().removesuffix("\n").removeprefix(head) for part in split(joined)]
    if kind == "mboxrd":
        assert got == texts
    else:  # what these quote, or do not, is not to be told from what was so
        assert [re.sub(">*From", "From", g) for g in got] == [
            re.sub(">*From", "From", text) for text in texts
        ]


@given(st.binary(max_size=300))
def test_any_bytes_are_split_and_nothing_overlaps(data):
    box = split(data)
    assert len(list(box)) == len(box)
    places = [place for span in box.spans for place in span]
    assert places == sorted(places)
    assert places[-1] == len(data)


@pytest.mark.parametrize(
    "unit",
    [
        b"From x\n", b"\nFrom x\nTo: y\n", b"From: a\nSubject: b\n\n", b"\n\n", b" \n", b">",
        b"\nFrom x 1:00 2023\nTo: y\n\n@@ -1 +1 @@\n", b"From: a\n ", b"From 1:00", b"\n>From ",
        b"\nTo: y\n z\n", b"1:00 A", b"diff --cc a\nb\n", b"\ndiff --git a/x b/x\n",
    ],
)  # fmt: skip
@pytest.mark.parametrize("first", [b"", MBOXRD, b"From: a\n", b"prose\n"])
def test_the_time_grows_with_the_size_alone(first, unit):
    def seconds(times: int) -> float:
        data = first + unit * (times // len(unit))
        best = 9.0
        for _ in range(2):
            start = time.process_time()
            for _part in split(data):
                pass
            best = min(best, time.process_time() - start)
        return best

    small, large = seconds(20_000), seconds(240_000)
    assert large < 0.05 + 40 * small  # 12 times the size; 144 times the time were it quadratic
