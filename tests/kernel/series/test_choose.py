# SPDX-License-Identifier: GPL-2.0-only
from __future__ import annotations

import pytest
from fake_mails import change, mbox, message, save, subjects

from orchestrator.kernel.series.load import load_series
from orchestrator.model.errors import UserError


def test_a_missing_patch_is_named(tmp_path):
    mails = [message(f"[PATCH v3 {n}/4] p{n}", "", change("a")) for n in (1, 4)]
    with pytest.raises(UserError, match=r"series.mbx lacks patch 2 of 4, patch 3 of 4 \(v3\)"):
        load_series(save(tmp_path, mbox(*mails)))


def test_one_of_three_beside_its_replies_is_a_missing_patch_too(tmp_path):
    mails = (message("[PATCH 2/3] p", "", change("a")), message("Re: [PATCH 2/3] p"))
    with pytest.raises(UserError, match="lacks patch 1 of 3, patch 3 of 3"):
        load_series(save(tmp_path, mbox(*mails)))


def test_one_mail_alone_may_be_any_of_its_series(tmp_path):
    series = load_series(save(tmp_path, message("[PATCH 2/3] p", "", change("a"))))
    assert [p.subject for p in series.patches] == ["p"]
    assert "patch 2 of 3 alone" in series.notes[0]


def test_the_newest_version_wins(tmp_path):
    where = save(
        tmp_path,
        mbox(
            message("[PATCH 1/2] old", "", change("a")),
            message("[PATCH RFC v10 1/1] newest", "", change("c")),
            message("[PATCH 2/2] old", "", change("b")),
            message("[PATCHv2 1/1] newer", "", change("c")),
        ),
    )
    series = load_series(where)
    assert [p.subject for p in series.patches] == ["newest"]
    assert "it holds v1, v2, v10: v10 taken" in series.notes


def test_the_same_mail_twice_is_one_patch_and_two_claimants_are_an_error(tmp_path):
    one = message("[PATCH 1/1] a", "", change("a"))
    assert subjects(save(tmp_path, mbox(one, one))) == ["a"]
    other = message("[PATCH 1/1] b", "", change("b"))
    with pytest.raises(UserError, match="two different mails are patch 1 of 1"):
        load_series(save(tmp_path, mbox(one, other)))


def test_two_series_in_one_mailbox(tmp_path):
    mails = [message("[PATCH 1/1] a", "", change("a")), message("[PATCH 1/2] b", "", change("b"))]
    with pytest.raises(UserError, match="several series"):
        load_series(save(tmp_path, mbox(*mails)))


def test_unnumbered_patches_keep_their_order(tmp_path):
    mails = [message(f"[PATCH] {s}", "", change(s)) for s in "cab"]
    assert subjects(save(tmp_path, mbox(*mails))) == ["c", "a", "b"]


def test_a_fixup_without_number_is_left_out_and_told(tmp_path):
    mails = [message("[PATCH 1/1] a", "", change("a")), message("[PATCH] fix", "", change("b"))]
    series = load_series(save(tmp_path, mbox(*mails)))
    assert [p.subject for p in series.patches] == ["a"]
    assert any("fix" in note for note in series.notes)


def test_a_cover_letter_with_an_interdiff_is_no_patch(tmp_path):
    mails = [
        message("[PATCH v2 0/1] cover", "", change("interdiff")),
        message("[PATCH v2 1/1] a", "", change("a")),
    ]
    assert subjects(save(tmp_path, mbox(*mails))) == ["a"]


def patch(subject: str, name: str = "a", new: str = "two", extra: str = "") -> bytes:
    return message(subject, "", change(name, new), extra)


def test_glued_and_spelled_numbers_order_and_gaps_are_told(tmp_path):
    for one, three in (("PATCH1/3", "PATCH3/3"), ("PATCH 1 of 3", "PATCH 3 of 3")):
        with pytest.raises(UserError, match="lacks patch 2 of 3"):
            load_series(save(tmp_path, mbox(patch(f"[{three}] c"), patch(f"[{one}] a", "b"))))
    box = mbox(*(patch(f"[v2PATCH{n}/3] {n}", str(n)) for n in (3, 1, 2)))
    assert subjects(save(tmp_path, box)) == ["1", "2", "3"]


def test_an_open_total_orders_and_tells_gaps(tmp_path):
    box = mbox(*(patch(f"[PATCH {n}/n] {n}", str(n)) for n in (3, 1, 2)))
    assert subjects(save(tmp_path, box)) == ["1", "2", "3"]
    with pytest.raises(UserError, match="lacks patch 2 of 3"):
        load_series(save(tmp_path, mbox(patch("[PATCH 1/n] a"), patch("[PATCH 3/n] c", "c"))))


def test_version_marks_of_the_lists(tmp_path):
    for older, newer in (("-V1", "-V2"), ("(v1)", "(v2)"), ("take 1", "take 2"), ("", "v2a")):
        box = mbox(patch(f"[PATCH {newer}] new", new="n"), patch(f"[PATCH {older}] old"))
        series = load_series(save(tmp_path, box))
        assert [p.subject for p in series.patches] == ["new"]
        assert any("taken" in note for note in series.notes)


def test_a_partial_reroll_replaces_its_patch_only(tmp_path):
    box = mbox(
        patch("[PATCH v2 1/2] one", "a"),
        patch("[PATCH v2 2/2] two", "b"),
        patch("[PATCH v2.1 2/2] two, mended", "b", "mended"),
        patch("[PATCH 1/1] before", "c"),
    )
    series = load_series(save(tmp_path, box))
    assert [p.subject for p in series.patches] == ["one", "two, mended"]
    assert "it holds v1, v2, v2.1: v2.1 of patch 2 taken, else v2" in series.notes
    twice = mbox(
        patch("[PATCH v2 1/2] one", "a"),
        patch("[PATCH v2 2/2] two", "b"),
        patch("[PATCH v2 2/2 v3] two", "b", "mended"),
    )
    assert b"mended" in load_series(save(tmp_path, twice)).patches[1].diff


def test_a_reroll_whose_series_is_missing_lacks_patches(tmp_path):
    box = mbox(patch("[PATCH v2.1 2/2] b"), message("Lunch?"))
    with pytest.raises(UserError, match=r"lacks patch 1 of 2 \(v2.1\)"):
        load_series(save(tmp_path, box))


def test_a_mark_that_is_not_known_is_told(tmp_path):
    series = load_series(save(tmp_path, mbox(patch("[PATCH v2bis 1/1] a"), message("x"))))
    assert any("'v2bis'" in note for note in series.notes)


def test_an_older_version_without_a_common_subject_is_named(tmp_path):
    box = mbox(patch("[PATCH 1/1] mm: other"), patch("[PATCH v2 1/1] mm: this", "b"))
    assert any("mm: other" in note for note in load_series(save(tmp_path, box)).notes)


def test_a_mail_that_came_twice_with_other_footers_is_one_patch(tmp_path):
    direct = patch("[PATCH] a")
    by_list = direct + b"_______________\nlist mailing list\nlist@example.org\n"
    series = load_series(save(tmp_path, mbox(direct, by_list)))
    assert [p.subject for p in series.patches] == ["a"]
    assert "1 patches are there more than once" in series.notes


def test_a_resend_of_the_same_patches(tmp_path):
    mails = [
        patch(f"[{tag} {n}/2] {n}", str(n)) for tag in ("PATCH", "PATCH RESEND") for n in (1, 2)
    ]
    assert subjects(save(tmp_path, mbox(*mails))) == ["1", "2"]


def test_one_patch_more_than_announced(tmp_path):
    box = mbox(*(patch(f"[PATCH {n}/2] {n}", str(n)) for n in (3, 2, 1)))
    series = load_series(save(tmp_path, box))
    assert [p.subject for p in series.patches] == ["1", "2", "3"]
    assert "taken too, patch 3 of 2: 3" in series.notes
    with pytest.raises(UserError, match="lacks patch 1 of 2, patch 2 of 2"):
        load_series(save(tmp_path, mbox(patch("[PATCH 3/2] c"), message("Lunch?"))))


def test_a_reply_is_one_by_its_thread_or_by_a_tag(tmp_path):
    answer = "In-Reply-To: <1@example.org>\n"
    kept = mbox(patch("fw: mend it", "a"), patch("[PATCH] re: mend it too", "b", extra=answer))
    # git mailinfo takes every "re:" off, and no "fw:".
    assert subjects(save(tmp_path, kept)) == ["fw: mend it", "mend it too"]
    box = mbox(
        patch("[PATCH] a"),
        patch("Re: a", "evil", extra=answer),
        patch("[linux-mm] Re: [PATCH] a", "evil"),
        patch("Re: Re: [PATCH] a", "evil"),
        patch("Fwd: Re[2]: [PATCH] a", "evil"),
    )
    series = load_series(save(tmp_path, box))
    assert [p.subject for p in series.patches] == ["a"]
    assert "4 replies left out" in series.notes


def test_the_base_is_that_of_the_cover_letter(tmp_path):
    box = mbox(
        message("[linux-mm] digest of the day", "base-commit: bbbbbbb"),
        message("[PATCH 00/01] cover", "base-commit: aaaaaaa"),
        patch("[PATCH 01/01] a"),
    )
    assert load_series(save(tmp_path, box)).base_commit == "aaaaaaa"


@pytest.mark.parametrize(
    ("diff", "said"),
    [
        (
            "diff --cc a\nindex 1,2..3\n--- a/a\n+++ b/a\n@@@ -1,1 -1,1 +1,1 @@@\n--a\n++b\n",
            "merge",
        ),
        ("*** a/a\n--- b/a\n***************\n*** 1 ****\n! a\n--- 1 ----\n! b\n", "context diff"),
    ],
)
def test_a_diff_that_git_would_pass_over_is_refused(tmp_path, diff, said):
    for more in ("", change("b")):
        with pytest.raises(UserError, match=said) as caught:
            load_series(save(tmp_path, message("[PATCH] a", "", diff + more)))
        assert "series.mbx" in str(caught.value)
    with pytest.raises(UserError, match=said):
        load_series(save(tmp_path, diff.encode(), "bare.diff"))


def thread(subject: str, name: str, ident: str, parent: str = "", new: str = "two") -> bytes:
    extra = f"Message-ID: <{ident}>\n" + (f"In-Reply-To: <{parent}>\n" if parent else "")
    return patch(subject, name, new, extra)


def test_a_patch_sent_again_in_reply_to_its_first_try(tmp_path):
    v1 = [thread(f"[PATCH {n}/2] {n}", str(n), f"1{n}") for n in (1, 2)]
    again = thread("[PATCH v2 2/2] 2", "2", "22", "12", "mended")
    series = load_series(save(tmp_path, mbox(*v1, again)))
    assert [b"mended" in p.diff for p in series.patches] == [False, True]
    assert "it holds v1, v2: v2 of patch 2 taken, else v1" in series.notes
    elsewhere = thread("[PATCH v2 2/2] 2", "2", "22", "11", "mended")
    with pytest.raises(UserError, match=r"lacks patch 1 of 2 \(v2\)"):
        load_series(save(tmp_path, mbox(*v1, elsewhere)))


def test_a_second_partial_reroll(tmp_path):
    box = mbox(
        *(patch(f"[PATCH v2 {n}/3] {n}", str(n)) for n in (1, 2, 3)),
        patch("[PATCH v2.1 2/3] 2", "2", "once"),
        patch("[PATCH v2.2 3/3] 3", "3", "twice"),
    )
    diffs = [p.diff for p in load_series(save(tmp_path, box)).patches]
    assert [b"once" in d for d in diffs] == [False, True, False]
    assert [b"twice" in d for d in diffs] == [False, False, True]


def test_patches_without_a_version_have_that_of_their_cover_letter(tmp_path):
    cover = message("[PATCH v3 0/1] c", "base-commit: aaaaaaa", extra="Message-ID: <c>\n")
    box = mbox(patch("[PATCH v2 1/1] old"), cover, thread("[PATCH 1/1] new", "b", "x", "c"))
    series = load_series(save(tmp_path, box))
    assert [p.subject for p in series.patches] == ["new"]
    assert series.base_commit == "aaaaaaa"
    first = thread("[PATCH v3 1/2] a", "a", "1")
    box = mbox(first, thread("[PATCH 2/2] b", "b", "2", "1"))
    assert subjects(save(tmp_path, box)) == ["a", "b"]


def test_two_patches_of_one_name_are_told(tmp_path):
    box = mbox(patch("[PATCH] a"), patch("[PATCH] a", "a", "three"))
    series = load_series(save(tmp_path, box))
    assert len(series.patches) == 2
    assert "2 different patches, each applied, are called: a" in series.notes


def test_what_a_series_builds_on_is_told(tmp_path):
    body = "Depends-on: <1@example.org>\nprerequisite-change-id: 20230923-x:v2\n"
    notes = load_series(
        save(tmp_path, patch("[PATCH] a").replace(b"\n---", body.encode() + b"\n---"))
    )
    assert [note.rpartition(" ")[2] for note in notes.notes] == ["20230923-x:v2", "<1@example.org>"]
