# SPDX-License-Identifier: GPL-2.0-only
"""Fuzz the parsers, guided by coverage: ``python tests/fuzz/run_fuzz.py [TARGET...] --seconds N``.

Each target runs in a process of its own under Atheris (libFuzzer).  An input that lets anything
but the lab's expected errors out, takes longer than its size allows, or more memory than it should,
is kept in ``.fuzz/finds/TARGET-DIGEST`` and told; exit status 1.  What was learnt stays in
``.fuzz/corpora``.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import os
import re
import subprocess
import sys
import time
import tomllib
import traceback
from pathlib import Path

HOME = Path(__file__).resolve().parents[2]
WORK = HOME / ".fuzz"
sys.path[:0] = [str(HOME), str(HOME / "tests" / "fuzz"), str(WORK / "lib")]

LONGEST = 16 << 10
#: Seconds of processor time that an input may take, and for each of its bytes: a hundred times
#: what the slowest parser takes of a long input, under instrumentation.
FLAT, PER_BYTE = 2.0, 0.0005
#: Each so-many-th input is tried once more, so many times as long: what is not linear shows there.
EVERY, TIMES = 997, 32


class Slow(Exception):
    """An input that took more time than its size allows."""


def timed(run, data: bytes) -> None:
    """Run a target on an input, and watch its time."""
    began = time.thread_time()
    run(data)
    took = time.thread_time() - began
    if took > FLAT + PER_BYTE * len(data):
        raise Slow(f"{took:.1f} s for {len(data)} bytes")


def work(name: str, seconds: float, runs: int) -> None:
    """Fuzz one target in this process; ends it."""
    import atheris

    with atheris.instrument_imports(include=["orchestrator"]):
        import fuzz_targets as targets
    target = targets.TARGETS[name]
    counter = 0

    def one(data: bytes) -> None:
        nonlocal counter
        counter += 1
        try:
            timed(target, data)
            if data and counter % EVERY == 0 and not target.slow:
                tried = data * TIMES
                timed(target, tried)
        except Exception:
            finds = WORK / "finds"
            finds.mkdir(parents=True, exist_ok=True)
            path = finds / f"{name}-{hashlib.sha256(data).hexdigest()[:12]}"
            path.write_bytes(data)
            print(f"find: {path}", file=sys.stderr)
            traceback.print_exc()
            raise

    corpus = WORK / "corpora" / name
    corpus.mkdir(parents=True, exist_ok=True)
    for path in target.corpus():
        with contextlib.suppress(FileExistsError):
            (corpus / f"seed-{path.name}").symlink_to(path)
    words = [sys.argv[0], f"-max_len={LONGEST}", f"-max_total_time={int(seconds)}",
             f"-runs={runs}", "-rss_limit_mb=2048", "-timeout=60", "-print_final_stats=1",
             f"-artifact_prefix={WORK}/finds/{name}-raw-", str(corpus)]  # fmt: skip
    (WORK / "finds").mkdir(exist_ok=True)
    atheris.Setup(words, one)
    atheris.Fuzz()


def main() -> int:
    """Fuzz each target in turn and tell what came of it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("targets", nargs="*")
    parser.add_argument("--seconds", type=float, default=60.0, help="for each target")
    parser.add_argument("--runs", type=int, default=1_000_000, help="inputs of each target at most")
    parser.add_argument(
        "--needs", action="store_true", help="print what pip is to install, and end"
    )
    parser.add_argument("--in-process", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.needs:
        project = tomllib.loads((HOME / "pyproject.toml").read_text("utf-8"))["project"]
        print(*project["optional-dependencies"]["fuzz"])
        return 0
    if given.in_process:
        work(given.targets[0], given.seconds, given.runs)
    import fuzz_targets as targets

    unknown = set(given.targets) - set(targets.TARGETS)
    if unknown:
        parser.error(f"no target {', '.join(unknown)}; there are {', '.join(targets.TARGETS)}")
    bad = 0
    for name in given.targets or targets.TARGETS:
        words = [sys.executable, __file__, name, "--in-process",
                 f"--seconds={given.seconds}", f"--runs={given.runs}"]  # fmt: skip
        env = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1"}
        log = WORK / f"{name}.log"
        with log.open("wb") as file:
            done = subprocess.run(
                words, stdout=file, stderr=file, env=env, timeout=given.seconds * 3 + 300,
                check=False, stdin=subprocess.DEVNULL,
            )  # fmt: skip
        text = log.read_text(errors="replace")
        count = re.findall(r"stat::number_of_executed_units: (\d+)", text)
        last = re.findall(r"^#(\d+)\s", text, re.MULTILINE)
        inputs = int((count or last or ["0"])[-1])
        covered = re.findall(r"cov: (\d+)", text)
        found = re.findall(r"^find: (.+)$", text, re.MULTILINE)
        ok = done.returncode == 0
        bad += not ok
        told = "no find" if ok else found[-1] if found else f"see {log}"
        print(f"{name:<12} {inputs:>9,} inputs  {(covered or ['0'])[-1]:>6} edges  {told}",
              flush=True)  # fmt: skip
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
