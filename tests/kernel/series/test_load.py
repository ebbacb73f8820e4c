# SPDX-License-Identifier: GPL-2.0-only
from __future__ import annotations

import base64
import hashlib
import quopri

import pytest
from fake_kernel import user_git
from fake_mails import change, mbox, message, save, subjects
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from orchestrator.kernel.series.load import load_series
from orchestrator.model.errors import UserError

# ---------------------------------------------------------------- mailboxes


def test_mailbox_in_any_order_with_cover_replies_and_chatter(tmp_path):
    where = save(
        tmp_path,
        mbox(
            message("Re: [PATCH v2 1/2] mm: one", "> quoted", change("evil")),
            message("[PATCH v2 2/2] mm: two", "Two.", change("mm/b")),
            message("[PATCH v2 0/2] mm: both", "Cover.\n\nbase-commit: 0123456789abcdef"),
            message("Lunch?", "Nothing to see."),
            message("[PATCH v2 1/2] mm: one", "One.", change("mm/a")),
            message("AW: [PATCH v2 0/2] mm: both", "Sehr gut."),
        ),
    )
    series = load_series(where)
    assert [(p.n, p.subject) for p in series.patches] == [(1, "mm: one"), (2, "mm: two")]
    assert series.patches[0].author == "Ann Author <ann@example.org>"
    assert series.patches[0].date == "Sat, 23 Sep 2023 01:31:45 +0000"
    assert series.patches[0].diff == change("mm/a").encode()
    assert series.base_commit == "0123456789abcdef"
    assert series.notes == (
        "2 replies left out",
        f"left out, a reply that seems to hold a diff of its own: {where}, mail 1",
    )
    assert series.origin == where


def test_digests_are_kcidb_patchset_hashes(tmp_path):
    where = save(tmp_path, mbox(message("[PATCH] a", "", change("a"))))
    series = load_series(where)
    own = hashlib.sha256(change("a").encode()).hexdigest()
    assert series.patches[0].sha256 == own
    assert series.digest == hashlib.sha256(f"{own}\n".encode()).hexdigest()


def test_only_replies(tmp_path):
    mails = [message("Re: [PATCH] a", "", change("a")), message("Re: [PATCH] a")]
    with pytest.raises(UserError, match="holds no diff"):
        load_series(save(tmp_path, mbox(*mails)))


def test_prerequisites_are_told(tmp_path):
    body = "x\n\nprerequisite-patch-id: 11\nprerequisite-patch-id: 22"
    series = load_series(save(tmp_path, message("[PATCH] a", body, change("a"))))
    assert "needs 2 other patches" in series.notes[0]


# ---------------------------------------------------------------- encodings

AWKWARD = change("mm/ä.c", "new = 1; /* ä = €, a long line that would be wrapped: " + "x" * 80)


@pytest.mark.parametrize("encoding", ["quoted-printable", "base64", "8bit"])
def test_transfer_encodings_give_the_same_patch(tmp_path, encoding):
    body = f"Body.\n---\n{AWKWARD}".encode()
    coded = {
        "quoted-printable": quopri.encodestring, "base64": base64.encodebytes, "8bit": bytes
    }[encoding](body)  # fmt: skip
    head = (
        "From: =?UTF-8?q?J=C3=B6rg_M?= <j@example.org>\n"
        "Subject: =?utf-8?b?W1BBVENIXSBtbTogw6QgPSDigqw=?=\nMIME-Version: 1.0\n"
        f"Content-Type: text/plain; charset=utf-8\nContent-Transfer-Encoding: {encoding}\n\n"
    )
    series = load_series(save(tmp_path, head.encode() + coded))
    (patch,) = series.patches
    assert (patch.subject, patch.author) == ("mm: ä = €", "Jörg M <j@example.org>")
    assert patch.diff == AWKWARD.encode()
    assert series.digest == load_series(save(tmp_path, AWKWARD.encode(), "bare.diff")).digest


def test_latin1_becomes_utf8(tmp_path):
    head = (
        "From: =?iso-8859-1?q?J=F6rg?= <j@example.org>\nSubject: [PATCH] x\n"
        "Content-Type: text/plain; charset=iso-8859-1\nContent-Transfer-Encoding: 8bit\n\n---\n"
    )
    body = change("a", "J\xf6rg").encode("latin-1")
    (patch,) = load_series(save(tmp_path, head.encode() + body)).patches
    assert patch.author == "Jörg <j@example.org>"
    assert patch.diff == change("a", "Jörg").encode()


def test_a_mail_with_crlf_is_the_same_patch(tmp_path):
    plain = message("[PATCH] a", "Body.", change("a"))
    dos = plain.replace(b"\n", b"\r\n")
    one = load_series(save(tmp_path, mbox(plain)))
    two = load_series(save(tmp_path, dos, "dos.eml"))
    three = load_series(save(tmp_path, mbox(dos).replace(b"\n", b"\r\n"), "dos.mbox"))
    assert one.digest == two.digest == three.digest


def test_an_attached_patch(tmp_path):
    data = (
        "From: a@b\nSubject: [PATCH] x\nMIME-Version: 1.0\n"
        'Content-Type: multipart/mixed; boundary="q"\n\n--q\nContent-Type: text/plain\n\nSee.\n'
        '--q\nContent-Type: text/x-patch; name="x.patch"\nContent-Transfer-Encoding: base64\n\n'
        + base64.encodebytes(change("a").encode()).decode()
        + "--q--\n"
    )
    assert load_series(save(tmp_path, data.encode())).patches[0].diff == change("a").encode()


def test_the_author_named_in_the_body_is_the_author(tmp_path):
    body = "From: Andrea Other <andrea@example.org>\n\nText."
    mails = [message("[PATCH] a", body, change("a"))]
    (patch,) = load_series(save(tmp_path, mbox(*mails))).patches
    assert patch.author == "Andrea Other <andrea@example.org>"


def test_broken_headers_are_survived(tmp_path):
    data = b"From: \xff\xfe <x>\nSubject: =?utf-9?q?=ZZ?= \xff [PATCH] \x1b[31mred\n\n---\n"
    (patch,) = load_series(save(tmp_path, data + change("a").encode())).patches
    assert "\x1b" not in patch.subject + patch.author


# ---------------------------------------------------------------- folders, diffs, git


def test_a_series_is_called_what_its_cover_letter_is(tmp_path):
    save(tmp_path, message("[PATCH v2 1/1] mm: one", diff=change("a")), "p/v2-0001-one.patch")
    assert load_series(str(tmp_path / "p")).subject == ""
    cover = tmp_path / "p/v2-0000-cover-letter.patch"
    save(tmp_path, message("[PATCH v2 0/1] mm: all of it", "text"), "p/v2-0000-cover-letter.patch")
    assert load_series(str(tmp_path / "p")).subject == "mm: all of it"
    cover.write_bytes(cover.read_bytes().replace(b"mm: all of it", b"*** SUBJECT HERE ***"))
    assert load_series(str(tmp_path / "p")).subject == ""


def test_folder_by_name_without_cover(tmp_path):
    save(tmp_path, message("[PATCH 0/2] c", "base-commit: abcdef1"), "p/0000-cover-letter.patch")
    save(tmp_path, mbox(message("[PATCH 2/2] b", "", change("b"))), "p/0002-b.patch")
    save(tmp_path, mbox(message("[PATCH 1/2] a", "", change("a"))), "p/0001-a.patch")
    save(tmp_path, b"notes", "p/README")
    series = load_series(str(tmp_path / "p"))
    assert [p.subject for p in series.patches] == ["a", "b"]
    assert series.base_commit == "abcdef1"


def test_folder_with_an_older_version_left_in_it(tmp_path):
    save(tmp_path, mbox(message("[PATCH 1/1] a", "", change("a"))), "p/0001-a.patch")
    save(tmp_path, mbox(message("[PATCH v2 1/1] a2", "", change("a"))), "p/v2-0001-a.patch")
    assert subjects(str(tmp_path / "p")) == ["a2"]


def test_folder_that_lacks_a_patch_says_so(tmp_path):
    save(tmp_path, mbox(message("[PATCH 1/3] a", "", change("a"))), "p/0001-a.patch")
    save(tmp_path, mbox(message("[PATCH 3/3] c", "", change("a"))), "p/0003-c.patch")
    assert "lacks patch 2 of 3" in load_series(str(tmp_path / "p")).notes[0]


def test_maildir_and_eml(tmp_path):
    for n in (2, 1):
        save(tmp_path, message(f"[PATCH {n}/2] p{n}", "", change("a")), f"m/cur/{3 - n}:2,S")
        save(tmp_path, message(f"[PATCH {n}/2] p{n}", "", change("a")), f"e/{3 - n}.eml")
    assert subjects(str(tmp_path / "m")) == subjects(str(tmp_path / "e")) == ["p1", "p2"]


def test_bare_diff_is_named_by_its_file_or_its_header(tmp_path):
    data = change("a").encode()
    assert subjects(save(tmp_path, data, "fix.diff")) == ["fix.diff"]
    dep3 = b"Description: mm: mend it\nAuthor: Joe <j@example.org>\n\n" + data
    (patch,) = load_series(save(tmp_path, dep3, "dep3.patch")).patches
    assert (patch.subject, patch.author) == ("mm: mend it", "Joe <j@example.org>")
    assert patch.diff == data


def test_git_range(repo):
    series = load_series(f"git:{repo}#HEAD~2..HEAD")
    assert [p.subject for p in series.patches] == ["mm: step 3 ten times", "mm: step 9 ten times"]
    assert series.patches[0].author == "Ann Author <ann@example.org>"
    assert series.base_commit == user_git(repo, "rev-parse", "HEAD~2")
    assert load_series(f"git:{repo}#HEAD~1..").patches[0].diff == series.patches[1].diff


def test_git_range_does_not_obey_the_repository(repo, tmp_path):
    for key, value in {
        "diff.noprefix": "true", "format.attach": "x", "diff.external": f"touch {tmp_path}/ran",
        "core.fsmonitor": f"touch {tmp_path}/ran", "format.coverLetter": "true",
        "core.hooksPath": str(tmp_path), "log.showSignature": "true",
    }.items():  # fmt: skip
        user_git(repo, "config", key, value)
    series = load_series(f"git:{repo}#HEAD~2..HEAD")
    assert len(series.patches) == 2
    assert series.patches[0].diff.startswith(b"diff --git a/mm/userfaultfd.c b/mm/userfaultfd.c\n")
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    ("range_", "said"),
    [
        ("HEAD", "is not git:DIR#A..B"),
        ("..HEAD", "is not git:DIR#A..B"),
        ("HEAD...HEAD~1", "is not git:DIR#A..B"),
        ("nowhere..HEAD", "has no commit 'nowhere'"),
        ("--output=x..HEAD", "has no commit '--output=x'"),
        ("HEAD..HEAD", "holds no commit with a change"),
    ],
)
def test_bad_git_ranges(repo, range_, said):
    with pytest.raises(UserError, match=said):
        load_series(f"git:{repo}#{range_}")


def test_git_range_of_no_repository(tmp_path):
    (tmp_path / "x").mkdir()
    with pytest.raises(UserError, match="is not a git repository"):
        load_series(f"git:{tmp_path}/x#A..B")
    with pytest.raises(UserError, match="is no folder"):
        load_series(f"git:{tmp_path}/y#A..B")


@pytest.mark.parametrize("data", [b"", b"\n\n", b"\x00\xff" * 50, b"Just prose.\n", b"From me\n"])
def test_what_holds_no_diff_is_the_users_error(tmp_path, data):
    with pytest.raises(UserError, match="holds no diff") as caught:
        load_series(save(tmp_path, data, "x.patch"))
    assert "git:DIR#A..B" in caught.value.hint
    (tmp_path / "p").mkdir()
    save(tmp_path, data, "p/x.patch")
    with pytest.raises(UserError, match=r"x\.patch holds no diff"):
        load_series(str(tmp_path / "p"))


def test_missing_and_empty_places(tmp_path):
    with pytest.raises(UserError, match="cannot be read: No such file"):
        load_series(str(tmp_path / "nowhere"))
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match=r"holds no \*\.patch file"):
        load_series(str(tmp_path / "empty"))


LINES = [
    b"From mboxrd@z Thu Jan  1 00:00:00 1970", b"From: a <a@b>", b"Subject: [PATCH 1/2] x",
    b"Subject: [PATCH 99999999/2] x", b"Content-Transfer-Encoding: base64", b"", b"---",
    b"Content-Type: multipart/mixed; boundary=x", b"--x", b"diff --git a/x b/x", b"--- a/x",
    b"Content-Type: text/plain; charset=utf-16", b"+++ b/x", b"@@ -1 +1 @@", b"-a", b"+b",
]  # fmt: skip


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.one_of(st.sampled_from(LINES), st.binary(max_size=12)), max_size=24))
def test_garbage_is_read_or_refused_but_never_a_crash(tmp_path, lines):
    try:
        series = load_series(save(tmp_path, b"\n".join(lines)))
    except UserError:
        return
    assert series.patches


def test_a_folder_whose_names_contradict_the_numbers(tmp_path):
    for n in (1, 2, 3):
        save(
            tmp_path,
            message(f"[PATCH {n}/3] mm: part {n}", "", change(f"mm/{n}")),
            f"{9 - n}.patch",
        )
    series = load_series(str(tmp_path))
    assert [p.subject for p in series.patches] == ["mm: part 1", "mm: part 2", "mm: part 3"]
    assert any("subjects' numbers" in note for note in series.notes)
    (tmp_path / "series").write_text("6.patch\n7.patch\n8.patch\n")  # quilt's word is explicit
    assert subjects(str(tmp_path))[0] == "mm: part 3"


def test_a_head_in_unusual_dress(tmp_path):
    head = (
        b"Received: from x\n\tby y; Sat, 23 Sep 2023\n"
        b"FROM: =?utf-8?q?J=C3=B6?=\n =?utf-8?b?cmc=?=\n <j@example.org>\n"
        b"subject : [PATCH v2\n\t1/1]\n =?iso-2022-jp?b?GyRCRnxLXBsoQg==?=\n\n---\n"
    )
    (patch,) = load_series(save(tmp_path, head + change("a").encode())).patches
    assert (patch.subject, patch.author) == ("日本", "Jörg <j@example.org>")
    assert subjects(
        save(tmp_path, mbox(head.replace(b"subject :", b"Subject:") + change("a").encode()))
    )


@pytest.mark.parametrize(
    "head", ["From: a@b\n", "Subject: [PATCH] a\n", "Date: x\nMessage-Id: <1>\n"]
)
def test_a_mail_that_lacks_a_field(tmp_path, head):
    data = f"{head}\nText.\n---\n{change('a')}".encode()
    for raw in (data, mbox(data), mbox(data, message("Lunch?"))):
        (patch,) = load_series(save(tmp_path, raw)).patches
        assert patch.subject in ("a", "(no subject)")


def test_what_the_body_says_of_itself(tmp_path):
    body = "From: B <b@x>\nDate: Sun, 24 Sep 2023 01:31:45 +0000\nSubject: inner\n\nText."
    (patch,) = load_series(save(tmp_path, message("[PATCH] outer", body, change("a")))).patches
    assert (patch.author, patch.subject) == ("B <b@x>", "inner")
    assert patch.date == "Sun, 24 Sep 2023 01:31:45 +0000"


def test_an_answer_named_alone_with_a_patch_below_its_scissors(tmp_path):
    body = (
        f"> quoted\n\nLike this?\n\n-- >8 --\nSubject: [PATCH] mend it\n\nText.\n---\n{change('a')}"
    )
    data = f"From: a@b\nSubject: Re: [PATCH 1/3] x\nIn-Reply-To: <1>\n\n{body}".encode()
    assert subjects(save(tmp_path, data)) == ["mend it"]
    (tmp_path / "p").mkdir()
    save(tmp_path, data, "p/a.patch")
    assert subjects(str(tmp_path / "p")) == ["mend it"]


@pytest.mark.parametrize(
    ("above", "subject", "author"),
    [
        ("mm: mend it\n\nFrom: Joe <j@x>\n\nText.\n---\n", "mm: mend it", "Joe <j@x>"),  # StGit
        ("# HG changeset patch\n# User Joe <j@x>\n# Date 1 0\n\nmm: mend it\n\nText.\n\n",
         "mm: mend it", "Joe <j@x>"),
        (f"commit {'0' * 40}\nAuthor: Joe <j@x>\nDate:   x\n\n    mm: mend it\n\n    Text\n\n",
         "mm: mend it", "Joe <j@x>"),
        ("Index: a\n=======\n", "x.diff", ""),
        ("diff -ruN x/a y/a\n", "x.diff", ""),
    ],
)  # fmt: skip
def test_heads_that_are_no_mails(tmp_path, above, subject, author):
    (patch,) = load_series(save(tmp_path, (above + change("a")).encode(), "x.diff")).patches
    assert (patch.subject, patch.author) == (subject, author)
    assert patch.diff == change("a").encode()


def test_a_file_with_crlf_keeps_it(tmp_path):
    dos = change("a").replace("one\n", "one\r\n").replace("two\n", "two\r\n")
    (patch,) = load_series(save(tmp_path, message("[PATCH] a", "", dos))).patches
    assert patch.diff == dos.encode()


def test_names_without_prefixes_are_told(tmp_path):
    diff = change("mm/a.c").replace("a/mm", "mm").replace("b/mm", "mm")
    series = load_series(save(tmp_path, message("[PATCH] a", "", diff)))
    assert series.patches[0].diff == change("mm/a.c").encode()
    assert "--no-prefix" in series.notes[0]


def test_a_folder_in_the_order_of_its_numbers(tmp_path):
    for n in (1, 2, 10):
        save(tmp_path, change(f"{n}").encode(), f"p/{n}-x.diff")
    save(tmp_path, b"x", "p/.hidden.patch")
    save(tmp_path, b"x", "p/other.mbox")
    series = load_series(str(tmp_path / "p"))
    assert [p.subject for p in series.patches] == ["1-x.diff", "2-x.diff", "10-x.diff"]
    assert "not read, beside *.patch files: other.mbox" in series.notes


def test_a_patch_of_a_folder_that_looks_like_a_reply(tmp_path):
    save(tmp_path, message("fw: mend it", "", change("a")), "p/1.patch")
    save(tmp_path, message("Re: [PATCH] mend it", "", change("b")), "p/2.patch")
    series = load_series(str(tmp_path / "p"))
    assert len(series.patches) == 2
    assert not series.notes


def test_a_commit_whose_text_looks_like_a_mailbox(repo):
    text = "mm: x\n\nFrom a@b Sat Sep 23 01:31:45 2023\nFrom: a\nSubject: [PATCH] y\n\nMore."
    (repo / "mm" / "x").write_text("x")
    user_git(repo, "add", "mm/x")
    user_git(repo, "commit", "-q", "-m", text)
    (patch,) = load_series(f"git:{repo}#HEAD~1..").patches
    assert patch.subject == "mm: x"
