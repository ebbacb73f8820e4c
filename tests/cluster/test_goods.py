# SPDX-License-Identifier: GPL-2.0-only
"""The store that workers share: a folder, and a real S3 server; whatever is fetched is hashed."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import damage
import pytest

from orchestrator.cluster.goods import Good, Store, files_of
from orchestrator.host.cache import seals
from orchestrator.host.cache.files import Cache
from orchestrator.model.errors import HostError, UserError


@pytest.fixture(scope="module")
def s3() -> Iterator[str]:
    """An S3 server of moto's on the loopback, with a bucket; gives its URL."""
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    try:
        yield f"http://{host}:{port}"
    finally:
        server.stop()


@pytest.fixture(params=["folder", "s3"])
def store(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    if request.param == "folder":
        return Store(str(tmp_path / "store"))
    for name, value in {
        "AWS_ACCESS_KEY_ID": "lab", "AWS_SECRET_ACCESS_KEY": "lab",
        "AWS_ENDPOINT_URL": request.getfixturevalue("s3"), "AWS_DEFAULT_REGION": "us-east-1",
    }.items():  # fmt: skip
        monkeypatch.setenv(name, value)
    import s3fs

    bucket = f"lab-{abs(hash(request.node.name)) % 10**8}"
    s3fs.S3FileSystem().mkdir(bucket)
    return Store(f"s3://{bucket}/lab")


def some_files(folder: Path) -> dict[str, Path]:
    (folder / "b").mkdir(parents=True)
    (folder / "image").write_bytes(b"\0" * 3_000_000 + b"kernel")
    (folder / "b" / "run.sh").write_text("#!/bin/sh\n")
    (folder / "b" / "run.sh").chmod(0o755)
    (folder / "build.json").write_text("{}")
    return files_of(folder)


def test_what_is_shared_is_fetched(store: Store, tmp_path: Path) -> None:
    files = some_files(tmp_path / "made")
    digest = store.share(files)
    assert store.share(files) == digest
    found = store.fetch(Good("builds/x", digest), tmp_path / "cache")
    where = tmp_path / "cache" / "builds" / "x"
    assert {name: path.read_bytes() for name, path in files_of(where).items()} == {
        name: path.read_bytes() for name, path in files.items()
    }
    assert (where / "b" / "run.sh").stat().st_mode & 0o777 == 0o755
    assert found[-1] == where / "build.json"  # who sees it sees the rest
    # What is there and as it should be is not fetched again.
    before = {path: path.stat().st_ino for path in found}
    assert store.fetch(Good("builds/x", digest), tmp_path / "cache") == found
    assert {path: path.stat().st_ino for path in found} == before


@pytest.mark.parametrize("harm", damage.ALL.values(), ids=damage.ALL)
def test_what_was_fetched_is_believed_by_its_hash(
    harm: Callable[[Path], None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And so it is by whoever finds it in the cache by its name afterwards."""
    store, cache = Store(str(tmp_path / "store")), Cache(tmp_path / "cache")
    digest = store.share(some_files(tmp_path / "made"))
    store.fetch(Good("roots", digest), cache.folder, cache)
    image = cache.folder / "roots" / "image"
    monkeypatch.setattr(seals, "_sound", set())
    assert seals.sound(cache, image)
    harm(image)
    seals.forget()
    assert not seals.sound(cache, image)
    store.fetch(Good("roots", digest), cache.folder, cache)
    assert image.read_bytes() == (tmp_path / "made" / "image").read_bytes()
    assert seals.sound(cache, image)
    # Without seals it is found as well.
    harm(image)
    store.fetch(Good("roots", digest), cache.folder)
    assert image.read_bytes() == (tmp_path / "made" / "image").read_bytes()


def test_a_seal_of_other_bytes_is_set_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(seals, "_sound", set())
    store, cache = Store(str(tmp_path / "store")), Cache(tmp_path / "cache")
    digest = store.share(some_files(tmp_path / "made"))
    seals.seal(cache, cache.folder / "roots" / "image", sha256="0" * 64)
    store.fetch(Good("roots", digest), cache.folder)
    assert not seals.sound(cache, cache.folder / "roots" / "image")
    store.fetch(Good("roots", digest), cache.folder, cache)
    assert seals.sound(cache, cache.folder / "roots" / "image")


def test_names_are_hints(store: Store, tmp_path: Path) -> None:
    assert store.noted("builds", "abc") is None
    digest = store.share(some_files(tmp_path / "made"))
    store.note("builds", "abc", digest)
    assert store.noted("builds", "abc") == digest
    store.note("builds", "gone", "0" * 64)
    assert store.noted("builds", "gone") is None
    with pytest.raises(HostError, match="cannot be a name"):
        store.noted("builds", "../names")


def test_other_bytes_under_a_hash_are_refused_and_removed(store: Store, tmp_path: Path) -> None:
    digest = store.share(files := some_files(tmp_path / "made"))
    image = json.loads(store.read(digest))["image"][0]
    fs, _ = store._root
    with fs.open(store._blob(image), "wb") as file:
        file.write(b"\0" * 3_000_005 + b"evil!")
    with pytest.raises(HostError, match="other bytes") as caught:
        store.fetch(Good("x", digest), tmp_path / "cache")
    assert caught.value.hint
    assert not (tmp_path / "cache" / "x" / "image").exists()
    assert not list((tmp_path / "cache" / "x").glob(".*"))
    with pytest.raises(HostError, match="lacks"):
        store.fetch(Good("x", digest), tmp_path / "cache")
    store.share(files)  # and it is there again
    store.fetch(Good("x", digest), tmp_path / "cache")


def test_one_that_was_cut_short_is_put_there_anew(store: Store, tmp_path: Path) -> None:
    files = some_files(tmp_path / "made")
    digest = store.share(files)
    image = json.loads(store.read(digest))["image"][0]
    with store._root[0].open(store._blob(image), "wb") as file:
        file.write(b"\0" * 10)
    assert store.share(files) == digest
    store.fetch(Good("x", digest), tmp_path / "cache")


@pytest.mark.parametrize("name", ["../escaped", "/etc/escaped", "a/../../b", ""])
def test_a_list_leads_out_of_no_folder(name: str, tmp_path: Path) -> None:
    store = Store(str(tmp_path / "store"))
    blob = store.share_bytes(b"x")
    listed = store.share_bytes(json.dumps({name: [blob, False]}).encode())
    with pytest.raises(HostError, match="no file of a folder"):
        store.fetch(Good("x", listed), tmp_path / "cache")


def test_many_share_and_fetch_the_same_at_once(store: Store, tmp_path: Path) -> None:
    """Who fetches sees all of a file or none."""
    files = some_files(tmp_path / "made")
    digest = store.share(files)
    problems: list[BaseException] = []

    def work(number: int) -> None:
        try:
            for turn in range(3):
                store.share(files)
                store.fetch(Good(f"{number}-{turn}", digest), tmp_path / "cache")
        except BaseException as error:
            problems.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    assert problems == []


def test_a_store_that_cannot_be_used(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="nosuch"):
        Store("nosuch://x/y").noted("builds", "a")
    (tmp_path / "file").write_text("")
    with pytest.raises(HostError, match="cannot be written"):
        Store(str(tmp_path / "file" / "store")).share_bytes(b"x")
