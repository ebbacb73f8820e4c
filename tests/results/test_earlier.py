# SPDX-License-Identifier: GPL-2.0-only
"""What earlier labs stored is read, or refused with what to do.

``tests/data/earlier/DATE-COMMIT`` was written by the lab of that commit, of its own sample run (or
campaign, or build): one for each change of what is stored.  The numbers of the schemas have been 1
all the while, since what came later was only added.
"""

from __future__ import annotations

import gzip
import json
import shutil
import sqlite3
from pathlib import Path

import pytest
from sample_run import broken_run, good_run

from orchestrator import HOME
from orchestrator.host.cache.files import Cache
from orchestrator.judge.compare import compare
from orchestrator.kernel.build.kept import read_kept
from orchestrator.model.errors import UserError
from orchestrator.model.names import Verdict
from orchestrator.model.spec import Build, ConfigSpec, KernelSpec
from orchestrator.report import html, junit, mail, markdown, runs_page
from orchestrator.results import digests, history, mutants, searches, store

EARLIER = sorted((HOME / "tests/data/earlier").iterdir())
RUNS = [folder for folder in EARLIER if (folder / "results.json").is_file()]
DIGESTS = [folder for folder in EARLIER if (folder / digests.DIGEST).is_file()]
BUILDS = [folder for folder in EARLIER if (folder / "build").is_dir()]
CAMPAIGNS = [folder for folder in EARLIER if (folder / mutants.FILE).is_file()]


def each(folders: list[Path]) -> pytest.MarkDecorator:
    assert folders
    return pytest.mark.parametrize("folder", folders, ids=lambda folder: folder.name)


def unpacked(folder: Path, to: Path) -> Path:
    db = to / "history.sqlite"
    db.write_bytes(gzip.decompress((folder / "history.sqlite.gz").read_bytes()))
    return db


def changed(folder: Path, to: Path, name: str, **new: object) -> Path:
    """A copy of a folder in which a file's top has other values."""
    copy = Path(shutil.copytree(folder, to / "copy"))
    data = json.loads((copy / name).read_text("utf-8"))
    (copy / name).write_text(json.dumps(data | new), "utf-8")
    return copy


# ---------------------------------------------------------------- results.json


@each(RUNS)
def test_a_run_is_read_with_its_evidence(folder: Path) -> None:
    run = store.load(folder)
    assert run.run.id == broken_run().run.id
    assert not [problem for problem in run.problems if "unreadable" in problem]
    stored = json.loads((folder / "results.json").read_text("utf-8"))
    names = [case["id"] for cell in stored["cells"] for case in cell["cases"]]
    cases = [case for cell in run.cells for case in cell.cases]
    assert [case.id for case in cases] == names
    assert {Verdict.PASS, Verdict.FAIL} <= {case.verdict for case in cases}
    texts = [hit.text for case in cases for hit in case.hits]
    assert any("Bad rss-counter state" in text for text in texts)
    assert any(case.samples for case in cases)


@each(RUNS)
def test_it_is_reported_and_compared_with_a_run_of_today(folder: Path) -> None:
    run = store.load(folder)
    for against in (None, compare(good_run(), run), compare(run, broken_run())):
        assert "Bad rss-counter" in html.render(run, folder, against)
        assert markdown.render(run, against)
        assert mail.render(run, against)
        assert junit.render(run, against)
    assert runs_page.render((digests.digest_of(run),))


@each(RUNS)
def test_stored_again_it_is_the_same(folder: Path, tmp_path: Path) -> None:
    run = store.load(folder)
    store.save(run, tmp_path / "again")
    assert store.load(tmp_path / "again") == run


@each(RUNS)
@pytest.mark.parametrize("schema", [2, 99])
def test_a_newer_one_is_refused(folder: Path, schema: int, tmp_path: Path) -> None:
    copy = changed(folder, tmp_path, "results.json", schema=schema)
    with pytest.raises(UserError, match=rf"newer lab \(schema {schema}, .* up to 1\)") as caught:
        store.load(copy)
    assert "update this one" in caught.value.hint


@pytest.mark.parametrize("schema", [0, -1, "1", True, None])
def test_one_that_never_was_is_refused(schema: object, tmp_path: Path) -> None:
    copy = changed(RUNS[0], tmp_path, "results.json", schema=schema)
    with pytest.raises(UserError, match=r"schema is .* expected 1"):
        store.load(copy)


# ---------------------------------------------------------------- the history


@each(RUNS)
def test_a_history_is_read_and_goes_on(folder: Path, tmp_path: Path) -> None:
    db = unpacked(folder, tmp_path)
    with sqlite3.connect(db) as connection:
        (count,) = connection.execute("SELECT count(*) FROM cases").fetchone()
    (run,) = history.runs(db)
    assert run.id == broken_run().run.id
    cases = history.query(db, "*", Verdict.FAIL)
    assert cases
    history.noise(db)
    history.workload_seconds(db)
    another = good_run()
    history.record(db, another)
    assert {run.id for run in history.runs(db)} == {run.id, another.run.id}
    assert history.query(db, "*", Verdict.FAIL) == cases, "nothing that it knew is lost"
    with sqlite3.connect(db) as connection:
        tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_master")}
        (kept,) = connection.execute(
            "SELECT count(*) FROM cases WHERE run = ?", (broken_run().run.id,)
        ).fetchone()
    assert kept == count
    assert {"made_of", "searches"} <= tables


@pytest.mark.parametrize(("version", "said"), [(2, "newer lab"), (0, "older lab")])
def test_a_history_of_another_schema_is_refused(version: int, said: str, tmp_path: Path) -> None:
    db = unpacked(RUNS[0], tmp_path)
    with sqlite3.connect(db) as connection:
        connection.execute(f"PRAGMA user_version = {version}")
    with pytest.raises(UserError, match=rf"{said} \(history {version}, this one has 1\)"):
        history.runs(db)
    with pytest.raises(UserError, match=said):
        history.record(db, good_run())


# ---------------------------------------------------------------- what stands beside


@each(DIGESTS)
def test_a_digest_of_an_earlier_form_is_made_anew(folder: Path, tmp_path: Path) -> None:
    reports = tmp_path / "reports"
    shutil.copytree(folder, reports / "run")
    found = digests.read(reports)
    assert found.notes == ()
    assert [run.id for run in found.runs] == [broken_run().run.id]
    assert found.runs[0].cells
    stored = json.loads((reports / "run" / digests.DIGEST).read_text("utf-8"))
    assert stored["form"] == digests.FORM


@each(DIGESTS)
def test_a_digest_of_a_newer_form_is_not_believed(folder: Path, tmp_path: Path) -> None:
    reports = tmp_path / "reports"
    reports.mkdir()
    changed(folder, reports, digests.DIGEST, form=99, run={})
    (run,) = digests.read(reports).runs
    assert run.id == broken_run().run.id


@each(CAMPAIGNS)
def test_a_campaign_is_read_and_a_newer_one_refused(folder: Path, tmp_path: Path) -> None:
    assert mutants.load(folder).tried
    with pytest.raises(UserError, match="schema 2, and this lab reads 1"):
        mutants.load(changed(folder, tmp_path, mutants.FILE, schema=2))


def test_searches_of_a_newer_lab_are_left_alone(tmp_path: Path) -> None:
    (tmp_path / searches.FILE).write_text('{"schema": 2, "searches": "of another kind"}')
    assert searches.read(tmp_path) == ()


# ---------------------------------------------------------------- the cache


@each(BUILDS)
def test_a_kept_build_is_read_or_built_again(folder: Path, tmp_path: Path) -> None:
    cache = Cache(tmp_path)
    place = cache.build("0" * 32)
    shutil.copytree(folder / "build", place)
    kernel = KernelSpec("k", "debian:6.12")
    wanted = Build("k/default/x86_64", kernel, ConfigSpec("default"), "x86_64")
    kept = read_kept(place, wanted)
    assert kept is not None
    assert kept.built.verdict is Verdict.PASS
    assert kept.built.image == place / "image"
    assert kept.built.made_in == (), "it did not say in which work tree"
    (place / "image").write_bytes(b"damaged")
    assert read_kept(place, wanted) is None
