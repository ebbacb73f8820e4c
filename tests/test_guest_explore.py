# SPDX-License-Identifier: GPL-2.0-only
"""The model of ``explore/steady``: what each rule says, and that it never contradicts itself.

What is expected stands in tests/data/explore/rules.txt.
"""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from orchestrator import HOME

EXPLORE = HOME / "guest-tests" / "explore"
MODEL = EXPLORE / "model.h"
RULES = HOME / "tests" / "data" / "explore" / "rules.txt"


@dataclass(frozen=True)
class Row:
    """One row of ``rules.txt``: what the last step may come to, and what is then of the memory."""

    name: str
    more: str  # what the kernel has beyond 6.12: a CAN_* of model.h, or nothing
    lines: tuple[str, ...]
    answer: str
    pages: dict[str, str]
    new: dict[str, str]
    frames: dict[str, str]


def rows() -> list[Row]:
    short: dict[str, str] = {}
    found: list[Row] = []
    for block in re.split(r"\n(?=[\w#])", RULES.read_text()):
        head, *rest = block.strip().split("\n")
        if head.startswith("#"):
            continue
        if " := " in head:
            name, _, line = head.partition(" := ")
            short[name] = line
            continue
        told = [line.strip() for line in rest]
        found.append(
            Row(
                head,
                next((line[2:] for line in told if line.startswith("% ")), ""),
                tuple(short.get(line, line) for line in told if line[0] not in ":=~@%"),
                next(line[2:] for line in told if line.startswith("= ")),
                *(_by_page(told, mark) for mark in ":~@"),
            )
        )
    return found


def _by_page(told: list[str], mark: str) -> dict[str, str]:
    parts = [line[2:].partition(" ") for line in told if line.startswith(f"{mark} ")]
    return {page: state for page, _, state in parts}


ROWS = rows()


@pytest.fixture(scope="session")
def steady(compiled: Callable[..., dict[str, Path]]) -> Path:
    return compiled(EXPLORE / "steady.c")["explore/steady"]


def _run(program: Path, *words: str, text: str = "") -> tuple[int, str]:
    done = subprocess.run(
        [program, *words], input=text, capture_output=True, text=True, timeout=300, check=False
    )
    return done.returncode, done.stdout + done.stderr


@pytest.fixture(scope="session")
def sayings(steady: Path) -> dict[str, str]:
    """What the model says of each row, by its name: all of one kernel in one run."""
    bits = {name: int(bit) for name, bit in re.findall(r"\bCAN_(\w+) = (\d+),", MODEL.read_text())}
    newer = {row.more for row in ROWS} - {""}
    assert newer < set(bits)
    usual = sum(bit for name, bit in bits.items() if name not in newer)
    told: dict[str, str] = {}
    for more in ("", *sorted(newer)):
        some = [row for row in ROWS if row.more == more]
        text = "\n---\n".join("\n".join(row.lines) for row in some)
        can = str(usual + bits.get(more, 0))
        status, said = _run(steady, "--say", "-", "--can", can, text=text)
        assert status == 0, said
        told |= zip((row.name for row in some), said.split("# ---\n"), strict=True)
    return told


def test_rows_have_names_of_their_own() -> None:
    assert len({row.name for row in ROWS}) == len(ROWS) > 150


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_rule(sayings: dict[str, str], row: Row) -> None:
    said = sayings[row.name]
    steps = re.findall(r"^# STEP (.*): (.*)$", said, re.M)
    assert [step for step, _ in steps] == [_full(line) for line in row.lines]
    assert steps[-1][1] == row.answer
    for word, expected in (("PAGE", row.pages), ("NEW", row.new), ("FRAME", row.frames)):
        is_now = dict(re.findall(rf"^# {word} (\S+) (.*)$", said, re.M))
        assert {page: is_now.get(page) for page in expected} == expected


def _full(line: str) -> str:
    """A line as the program writes it: the fields in their order, none left out."""
    order = ["file", "from", "at", "n", "len", "to", "prot", "how", "spot", "byte"]
    head, *fields = re.split(r" (?=\w+=)", line)
    return " ".join([head, *sorted(fields, key=lambda f: order.index(f.partition("=")[0]))])


@pytest.mark.parametrize(
    "step",
    [
        "clear-soft-dirty",
        "hugepage at=4 n=1",
        "mergeable at=4 n=1",
        "userfaultfd how=plain",
        "userfaultfd how=markers",
        "userfaultfd how=async",
        "pagemap-scan at=4 n=1 how=look",
        "pin at=4 n=1",
        "reclaim how=all",
    ],
)
def test_what_a_kernel_lacks_is_not_carried_out(steady: Path, step: str) -> None:
    text = f"0 mmap at=4 n=2 prot=rw how=private\n0 {step}\n"
    lacks = str(255 - 64) if step.endswith("markers") else "1"
    for can, answer in ((["--can", lacks], "not carried out"), ([], "success")):
        status, said = _run(steady, "--say", "-", *can, text=text)
        assert status == 0
        assert f"# STEP 0 {step}: {answer}\n" in said


@pytest.mark.parametrize("seed", [1, 50000])
def test_model_does_not_contradict_itself(steady: Path, seed: int) -> None:
    """Whatever it allows may come, be seen, and be followed by any step."""
    status, said = _run(steady, "--dry", "20000", "--seed", str(seed))
    assert status == 0, said


@pytest.mark.slow
def test_model_does_not_contradict_itself_for_long(steady: Path) -> None:
    status, said = _run(steady, "--dry", "1000000", "--seed", "7")
    assert status == 0, said


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("9 munmap at=1 n=1", "a line begins with the number of a process"),
        ("0 mumap at=1 n=1", "no such step"),
        ("0 munmap at=1", "a range of no pages"),
        ("0 munmap at=30 n=4", "beyond the last page"),
        ("0 munmap at=1 n=1 to=3", "no such field"),
        ("0 munmap at=x n=1", "no number"),
        ("0 mmap at=1 n=1 prot=x", "prot is none, r or rw"),
        ("0 mmap at=1 n=1 prot=r how=often", "no such how="),
        ("0 fork to=7", "no such process"),
    ],
)
def test_wrong_line_is_told(steady: Path, line: str, why: str) -> None:
    status, said = _run(steady, "--say", "-", text=f"0 mmap at=1 n=2 prot=rw how=private\n{line}\n")
    assert status == 1
    assert re.search(rf"-:2: .*{re.escape(why)}", said), said


@pytest.mark.parametrize(
    "words", [("--dry",), ("--dry", "x"), ("--what", "1"), ("--steps", "9999")]
)
def test_wrong_usage_is_refused(steady: Path, words: tuple[str, ...]) -> None:
    status, said = _run(steady, *words)
    assert status == 2
    assert "expected [--programs N | --seconds S]" in said


def test_every_step_has_a_rule_that_is_tried() -> None:
    """A step of the alphabet that no row has would be one whose rule nobody checked."""
    names = re.findall(r'^\t\[OP_\w+\] = \{ "([\w-]+)", ', (EXPLORE / "step.h").read_text(), re.M)
    assert len(names) > 40
    tried = {line.split()[1] for row in ROWS for line in row.lines}
    assert tried == set(names)


def test_steps_beside_others_and_with_an_allocation_that_fails_are_told_as_they_are_read(
    steady: Path,
) -> None:
    text = "0 mmap at=4 n=2 prot=rw how=private fail=3\n& 0 poke at=4 spot=1 byte=2\n"
    status, said = _run(steady, "--say", "-", text=text)
    assert status == 0
    assert re.findall(r"^# STEP (.*): success$", said, re.M) == text.splitlines()


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("0 munmap at=4 n=2 fail=0", "fail is the number of an allocation, 1 to 255"),
        ("0 munmap at=4 n=2 fail=256", "fail is the number of an allocation, 1 to 255"),
        ("&", "a line begins with the number of a process, 0 to 3, or with & and that"),
        ("& munmap at=4 n=2", "a line begins with the number of a process"),
    ],
)
def test_a_wrong_line_is_told(steady: Path, line: str, why: str) -> None:
    status, said = _run(steady, "--say", "-", text=f"{line}\n")
    assert status == 1
    assert f"-:1: {why}" in said


_RACE = r"""
#include "pairs.h"

int main(int argc, char **argv)
{
	struct answer answers[ACTORS] = { 0 };
	struct step steps[ACTORS];
	const char *why = "";
	int count = 0, order[ACTORS] = { 0, 1, 2 }, bare = 0, sequences = 0;
	struct race race = { .steps = steps };

	for (int i = 1; i < argc && count < ACTORS; i++) {
		if (step_parse(argv[i], &steps[count], &why) != 1)
			return 2;
		if (count && !race_beside(steps, count, &steps[count]))
			break;
		race.answers[count] = &answers[count];
		race.faults[count] = race_touch(&steps[count], &race.touch[count]);
		count++;
	}
	race.count = count;
	do {
		struct sequence sequence;

		bare++;
		for (unsigned int gaps = 0; gaps < 1u << GAPS(count); gaps++) {
			if (!sequence_of(&race, order, gaps, &sequence))
				continue;
			sequences++;
			for (int i = 0; i < sequence.count; i++) {
				const struct step *step = sequence.steps[i];

				if (step >= steps && step < steps + count)
					printf("%d", (int)(step - steps));
				else /* a fault: */
					printf("%c", 'a' + (int)(step - race.touch));
			}
			printf(" ");
		}
	} while (order_next(order, count));
	printf("\n%d %d %d\n", count, bare, sequences);
	return 0;
}
"""


@pytest.fixture(scope="module")
def race(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("race")
    (folder / "race.c").write_text(_RACE)
    library = sorted((HOME / "guest-tests" / "lib").glob("*.c"))
    subprocess.run(
        ["gcc", "-std=gnu11", "-D_GNU_SOURCE", "-pthread", "-I", EXPLORE, "-I",
         HOME / "guest-tests" / "lib", "-o", folder / "race", folder / "race.c", *library],
        check=True, timeout=120,
    )  # fmt: skip
    return folder / "race"


@pytest.mark.parametrize(
    ("steps", "together"),
    [
        (("0 read at=1 spot=0", "0 poke at=1 spot=0 byte=1", "0 mprotect at=0 n=4 prot=r"), 3),
        (("0 fork to=1", "0 dontneed at=0 n=4", "0 poke at=1 spot=0 byte=1"), 3),
        (("0 read at=1 spot=0", "0 move at=2 n=1 to=5 how=strict", "0 dontneed at=2 n=1"), 3),
        # One at most holds the lock for writing, one at most goes over several pages.
        (("0 munmap at=0 n=1", "0 poke at=1 spot=0 byte=1", "0 munmap at=9 n=1"), 2),
        (("0 dontneed at=0 n=4", "0 poke at=1 spot=0 byte=1", "0 free at=0 n=4"), 2),
        (("0 munmap at=0 n=1", "0 munmap at=3 n=1"), 1),
        # What moves is at two pages at once.
        (("0 move at=2 n=1 to=5 how=strict", "0 dontneed at=1 n=6"), 1),
        (("0 dontneed at=1 n=6", "0 move at=5 n=1 to=2 how=strict"), 1),
        (("0 dontneed at=1 n=3", "0 move at=2 n=1 to=5 how=strict", "0 read at=5 spot=0"), 2),
        (("0 move at=3 n=2 to=13 how=holes", "0 move at=14 n=1 to=13 how=holes"), 1),
        (("0 move at=3 n=1 to=14 how=holes", "0 move at=3 n=1 to=14 how=strict"), 1),
        (("0 move at=3 n=1 to=14 how=holes", "0 move at=14 n=1 to=5 how=strict"), 2),
        (("0 copy at=3 n=1 how=wp byte=1", "0 unregister at=3 n=1"), 1),
        (("0 copy at=3 n=1 how=plain byte=1", "0 unregister at=3 n=1"), 2),
        (("0 move at=2 n=3 to=4 how=holes", "0 dontneed at=4 n=1"), 1),
        # Pageout unmaps later; another process, a failing allocation, and what lets go of its lock.
        (("0 pageout at=1 n=1", "0 poke at=1 spot=0 byte=1", "0 free at=1 n=1"), 2),
        (("0 poke at=1 spot=0 byte=1", "0 fork to=1"), 1),
        (("0 poke at=1 spot=0 byte=1", "1 dontneed at=1 n=1"), 1),
        (("0 poke at=1 spot=0 byte=1", "0 dontneed at=1 n=1 fail=1"), 1),
        (("0 poke at=1 spot=0 byte=1", "0 mlock at=1 n=1"), 1),
    ],
)  # fmt: skip
def test_what_may_be_beside_what(race: Path, steps: tuple[str, ...], together: int) -> None:
    done = subprocess.run([race, *steps], capture_output=True, text=True, timeout=30, check=True)
    assert int(done.stdout.splitlines()[-1].split()[0]) == together


def test_all_orders_are_thought_of_and_a_fault_before_each_other_step(race: Path) -> None:
    def orders(*steps: str) -> tuple[list[str], str]:
        done = subprocess.run(
            [race, *steps], capture_output=True, text=True, timeout=30, check=True
        )
        told, counts = done.stdout.splitlines()
        return told.split(), counts

    poke, read, drop = "0 poke at=1 spot=0 byte=1", "0 read at=1 spot=0", "0 dontneed at=1 n=1"
    assert orders(drop, "0 free at=1 n=1") == (["01", "10"], "2 2 2")
    assert orders(poke, drop) == (["01", "10", "a10"], "2 2 3")
    told, counts = orders(drop, poke, "0 free at=1 n=1")
    assert counts == "3 6 14"
    # The poke (1, its fault b) comes last: it had its page before either of the others, or both.
    assert {"021", "b021", "0b21", "b0b21"} <= {*told}
    assert orders(poke, read, drop)[1] == "3 6 28"
    assert len(set(told)) == len(told)


BASES = """0 mmap at=3 n=8 prot=rw how=private
0 userfaultfd how=plain
0 register at=3 n=4 how=missing
0 remap at=3 n=2 len=2 to=20
0 pin at=4 n=1
0 pagemap-scan at=3 n=8 how=look
---
0 mmap-file file=0 from=0 at=4 n=3 prot=rw how=shared
0 punch file=0 from=1 n=2
0 truncate file=1 len=3
0 file-write file=0 from=2 byte=9
0 fork to=1
1 poke at=5 spot=1 byte=3
1 process-madvise at=4 n=2 to=0 how=cold
"""


@pytest.mark.parametrize("seed", [1, 70000])
def test_programs_made_of_others_are_programs(steady: Path, seed: int) -> None:
    """Each can be read again, and the model goes along with it; steady.c checks each step."""
    words = ("--mutate", "-", "--programs", "2000", "--seed", str(seed))
    status, said = _run(steady, *words, text=BASES)
    assert status == 0, said
    made = ["".join(re.findall(r"^# PROGRAM (.*\n)", part, re.M)) for part in said.split("# ---")]
    assert len(made) == 2001
    assert len(set(made)) > 1500
    assert max(text.count("\n") for text in made) == 40
    # Every step of the language comes, also those that no base has.
    steps = {line.split()[1] for text in made for line in text.splitlines()}
    assert {"munmap", "move", "vmsplice", "vfork", "clear-soft-dirty", "continue"} < steps
    # And they are read where programs are.
    some = "---\n".join(text for text in made[:50] if text)
    status, said = _run(steady, "--say", "-", text=some)
    assert status == 0, said


def test_the_same_seed_makes_the_same_programs(steady: Path) -> None:
    words = ("--mutate", "-", "--programs", "50", "--seed", "9")
    assert _run(steady, *words, text=BASES) == _run(steady, *words, text=BASES)
    status, said = _run(steady, "--mutate", "-", text="0 nonsense\n")
    assert status == 1
    assert "-:1: no such step" in said
