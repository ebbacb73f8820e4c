# SPDX-License-Identifier: GPL-2.0-only
"""Each parser of what others write, as a function of bytes; only the lab's expected errors may
leave it.

Used by ``run_fuzz.py`` under Atheris, and by ``test_targets.py`` on the corpora and on mutations of
them.  A target takes whatever it is given: it never looks whether the input makes sense.
"""

from __future__ import annotations

import io
import shutil
import tempfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from orchestrator import HOME
from orchestrator.evidence import blocked, gcov, host_output, kept, kselftest, ktap, readings
from orchestrator.evidence.klog import kmsg, window
from orchestrator.evidence.klog import parse as klog
from orchestrator.evidence.vmcore import questions
from orchestrator.guest import dump, facts, kdump
from orchestrator.host import compressed
from orchestrator.kernel.build import kconfig, kexpr, kfile
from orchestrator.kernel.build import log as build_log
from orchestrator.kernel.lines import addr2line, elf, vmlinux
from orchestrator.kernel.series import diff, files, load, mbox, mime, quilt, subject
from orchestrator.kernel.source import archive
from orchestrator.model import formats
from orchestrator.model.arch import ARCHES
from orchestrator.model.errors import LabError
from orchestrator.plan.known_file import read_known_file
from orchestrator.plan.lab_yaml import load_config
from orchestrator.results import digests, history, mutants, searches, store
from orchestrator.workload import selftest_log

CORPORA = Path(__file__).with_name("corpora")
DATA = HOME / "tests" / "data"


@dataclass(frozen=True)
class Target:
    """``run`` is what is fuzzed; ``seeds`` are files of the tree beside its corpus.

    ``slow``: it starts programs or reads many files, and gets fewer inputs.  ``expected`` are
    errors of its room beside the lab's family.
    """

    name: str
    run: Callable[[bytes], object]
    seeds: Callable[[], Iterable[Path]] = tuple
    slow: bool = False
    expected: tuple[type[Exception], ...] = ()

    def __call__(self, data: bytes) -> None:
        """Run it on an input.

        :raises Exception: what is no expected error: a find.
        """
        try:
            self.run(data)
        except (LabError, *self.expected):
            pass

    def corpus(self) -> tuple[Path, ...]:
        """What it begins with, and what it once stumbled over."""
        own = sorted((CORPORA / self.name).glob("*"))
        return (*own, *sorted(self.seeds()))


_PLACE = Path(tempfile.mkdtemp(prefix="lab-fuzz-"))


def _file(data: bytes, name: str = "input") -> Path:
    path = _PLACE / name
    path.write_bytes(data)
    return path


def _text(data: bytes) -> str:
    """As the lab reads what a guest printed."""
    return data.decode("utf-8", "surrogateescape")


def _lines(data: bytes) -> list[str]:
    return _text(data).split("\n")


def _halves(data: bytes) -> tuple[bytes, bytes]:
    """Two inputs in one: a line of ``%%%%`` stands between them."""
    first, _, second = data.partition(b"%%%%\n")
    return first, second


# ---------------------------------------------------------------- mails and patches


def _mbox(data: bytes) -> None:
    mbox.split(data)
    mbox.heads(data)
    if mbox.is_mail(data):
        head = data[: mbox.head_end(data)]
        mbox.has_parts(head)
        mime.only_html(head)
        mime.inner_mails(data)
        mime.without_html(data)
        mime.as_utf8(data, head)
    mime.unframed(data)


def _subject(data: bytes) -> None:
    for answers in (False, True):
        subject.spelled(subject.read(_text(data), answers=answers).version)


def _diff(data: bytes) -> None:
    for each in diff.parse(data):
        for hunk in each.hunks:
            assert hunk.old_lines >= 0
            list(hunk.lines())
            assert len(hunk.preimage) <= data.count(b"\n") + 1
    diff.parse(diff.extract(data))
    diff.foreign(data)
    diff.rooted(data)
    diff.rooted(data, always=True)


def _stream(data: bytes) -> None:
    files.read_stream(io.BytesIO(data), "input")
    files.why_none(data)


def _series(data: bytes) -> None:
    load.series_digest(load.read_series(data, "input").patches)


def _quilt(data: bytes) -> None:
    folder = _PLACE / "quilt"
    folder.mkdir(exist_ok=True)
    (folder / "series").write_bytes(data)
    (folder / "a.patch").write_bytes(b"")
    quilt.read(folder / "series")


# ---------------------------------------------------------------- what a guest says


def _ktap(data: bytes) -> None:
    for whole in (True, False):
        ktap.parse(_text(data), whole=whole)


def _kselftest(data: bytes) -> None:
    for status in (0, 1, 4, 137, None):
        kselftest.read(_text(data), status)


def _host_output(data: bytes) -> None:
    for status in (0, 134, None):
        host_output.read(_lines(data), status, lambda *_: ("", "", ""), ("allowed",), 1.0)


def _klog(data: bytes) -> None:
    for hit in klog.parse(data.split(b"\n")):
        assert hit.signature
        assert "\n" not in hit.title


def _kmsg(data: bytes) -> None:
    console, records = _halves(data)
    list(kmsg.lines(kmsg.reconcile(console.split(b"\n"), kmsg.records(records))))


def _window(data: bytes) -> None:
    console, stderr = map(_text, _halves(data))
    window.read_window(console, stderr, "0123456789abcdef", "ledger/swap")
    window.stored_window(console, "ledger/swap")
    window.find_marks(console.split("\n"), None)
    window.outside_windows(data, "0123456789abcdef")


def _readings(data: bytes) -> None:
    text = _text(data)
    readings.parse_ledger(text)
    readings.ledger_problems(text)
    readings.parse_measurements(text)
    readings.parse_samples(text)


# ---------------------------------------------------------------- builds


def _build_log(data: bytes) -> None:
    text = _text(data)
    found = build_log.messages(text, Path("/src"))
    build_log.first_reason(found, text)
    build_log.host_trouble(text)
    selftest_log.failures(text)
    selftest_log.first_failure(text)
    selftest_log.parse_settings(text)
    addr2line.parse_addr2line(text)


def _kconfig(data: bytes) -> None:
    path = _file(data, "input.config")
    kconfig.render(kconfig.merge([path], "6.12.1", "x86_64"))
    kfile.read_complete(path)


def _expression(data: bytes) -> None:
    condition, rest = kexpr.split_if(_text(data))
    kexpr.words(condition)
    kexpr.number(rest, 16)
    list(kexpr.conjuncts(kexpr.parse(_text(data))))


def _gcov(data: bytes) -> None:
    gcov.ran_at_all(data)
    list(gcov.told(_text(data)))


def _dotconfig(data: bytes) -> None:
    formats.parse_dotconfig(_text(data))


# ---------------------------------------------------------------- binaries


def _archive(data: bytes) -> None:
    """Read as an import reads it; what git would be told goes nowhere."""
    archive._feed(_file(data), io.BytesIO(), "refs/x", lambda _: None, float("inf"), "input")


def _compressed(data: bytes) -> None:
    with compressed.decompressed(io.BytesIO(data), "input") as stream:
        left = 1 << 20
        while left > 0 and (piece := stream.read(1 << 16)):
            left -= len(piece)


def _elf(data: bytes) -> None:
    path = _file(data)
    elf.build_id(data)
    with elf.opened(path) as made:
        assert made.build_id is not None
        assert isinstance(made.banner, str)
        list(made.code)
    with vmlinux.open_vmlinux(path):
        pass


def _kdump(data: bytes) -> None:
    path, target = _file(data), _PLACE / "target"
    try:
        kdump.finish(path, target, b"OSRELEASE=6.12\n", "x86_64", 1 << 24)
        shutil.copy(target, path)
    except kdump.NotKdump:
        pass
    kdump.to_elf(path, target, _file(b"\x7fELF".ljust(64, b"\x3e"), "vmlinux"))


def _dump(data: bytes) -> None:
    dump.parse_registers(_text(data))
    dump.parse_symbols(_lines(data))
    questions.sections(questions.read_answers(_lines(data)))


# ---------------------------------------------------------------- stored files


def _results(data: bytes) -> None:
    results, _rest = _halves(data)
    folder = _PLACE / "run"
    (folder / "cells").mkdir(parents=True, exist_ok=True)
    (folder / store.RESULTS).write_bytes(results)
    run = store.load(folder, evidence=False)
    for cell in run.cells[:3]:
        with_evidence = store._with_evidence(run, folder)
        assert len(with_evidence.cells) == len(run.cells), cell


def _stored(data: bytes) -> None:
    folder = _PLACE / "stored"
    folder.mkdir(exist_ok=True)
    for name in (mutants.FILE, searches.FILE, digests.DIGEST):
        (folder / name).write_bytes(data)
    searches.read(folder)
    digests.read(_PLACE)
    try:
        mutants.load(folder)
    finally:
        shutil.rmtree(folder)


def _history(data: bytes) -> None:
    path = _file(data, "history.sqlite")
    history.runs(path)
    history.case_ids(path)
    history.noise(path)


# ---------------------------------------------------------------- what a user writes


def _lab_yaml(data: bytes) -> None:
    folder = _PLACE / "lab"
    (folder / "guest-tests").mkdir(parents=True, exist_ok=True)
    (folder / "lab.yaml").write_bytes(data)
    load_config(folder / "lab.yaml", tuple(ARCHES), folder)


_MANIFEST_LAB = b"""\
version: 1
default_profile: p
workload_folders: [guest-tests]
kernels: {k: {source: "debian:6.12"}}
configs: {c: {fragments: [base]}}
shapes: {s: {}}
profiles: {p: {matrix: [{configs: [c], arches: [x86_64], shapes: [s]}]}}
"""


def _manifest(data: bytes) -> None:
    folder = _PLACE / "manifest"
    family = folder / "guest-tests" / "fresh"
    family.mkdir(parents=True, exist_ok=True)
    (folder / "kernel-configs").mkdir(exist_ok=True)
    (folder / "kernel-configs" / "base.config").write_text("CONFIG_A=y\n")
    (family / "zero.c").touch()
    (folder / "lab.yaml").write_bytes(_MANIFEST_LAB)
    (family / "manifest.yaml").write_bytes(data)
    load_config(folder / "lab.yaml", tuple(ARCHES), folder)


def _known(data: bytes) -> None:
    read_known_file(_file(data, "known.yaml"))


# ---------------------------------------------------------------- the table


def _in(folder: str, pattern: str, most: int = 40, size: int = 20_000) -> Callable[[], list[Path]]:
    def found() -> list[Path]:
        fit = [path for path in sorted((DATA / folder).glob(pattern)) if path.is_file()]
        return [path for path in fit if path.stat().st_size <= size][:most]

    return found


TARGETS: dict[str, Target] = {
    target.name: target
    for target in (
        Target("mbox", _mbox),
        Target("subject", _subject),
        Target("diff", _diff, lambda: sorted((HOME / "tests" / "plants").glob("*.patch"))[:20]),
        Target("stream", _stream),
        Target("series", _series, slow=True),
        Target("quilt", _quilt),
        Target("ktap", _ktap),
        Target("kselftest", _kselftest),
        Target("host-output", _host_output),
        Target("klog", _klog, _in("klog", "*.log")),
        Target("kmsg", _kmsg),
        Target("window", _window),
        Target("readings", _readings),
        Target("kept", lambda data: kept.read_kept(_text(data))),
        Target("blocked", lambda data: blocked.blocked_tasks(_text(data)),
               _in("stuck", "*.console", size=60_000)),
        Target("facts", lambda data: facts.parse(_text(data))),
        Target("build-log", _build_log),
        Target("kconfig", _kconfig,
               lambda: sorted((HOME / "kernel-configs").glob("*.config"))[:10]),
        Target("expression", _expression),
        Target("gcov", _gcov, expected=(ValueError,)),
        Target("dotconfig", _dotconfig),
        Target("archive", _archive, expected=(BrokenPipeError,)),
        Target("compressed", _compressed),
        Target("elf", _elf, expected=(elf.NotElf,)),
        Target("kdump", _kdump, expected=(kdump.NotKdump,)),
        Target("dump", _dump, _in("dump", "*.txt")),
        Target("results", _results),
        Target("stored", _stored),
        Target("history", _history, slow=True),
        Target("lab-yaml", _lab_yaml),
        Target("manifest", _manifest),
        Target("known", _known),
    )
}  # fmt: skip
