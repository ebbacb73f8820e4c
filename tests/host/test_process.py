# SPDX-License-Identifier: GPL-2.0-only
"""Host processes: deadlines, groups, environment, interruption, and the reaper."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from orchestrator import HOME
from orchestrator.host import process
from orchestrator.model.errors import EXIT_HOST, HostError


def alive(pid: int) -> bool:
    """Whether a process still runs; a zombie does not."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state not in "ZX"


def wait_gone(pids: list[int], seconds: float) -> list[int]:
    until = time.monotonic() + seconds
    left = [pid for pid in pids if alive(pid)]
    while left and time.monotonic() < until:
        time.sleep(0.02)
        left = [pid for pid in left if alive(pid)]
    return left


def read_pids(file: Path, count: int) -> list[int]:
    until = time.monotonic() + 10
    while time.monotonic() < until:
        words = file.read_text().split() if file.exists() else []
        if len(words) >= count:
            return [int(word) for word in words]
        time.sleep(0.02)
    raise AssertionError(f"only {words} in {file}")


# ---------------------------------------------------------------- what a command gives


def test_output_status_and_command() -> None:
    done = process.run(["sh", "-c", "echo out; echo err >&2; exit 3"], deadline=10, check=False)
    assert (done.status, done.stdout, done.stderr) == (3, b"out\n", b"err\n")
    assert done.command == "sh -c 'echo out; echo err >&2; exit 3'"
    assert done.text == "out\n"
    assert 0 < done.seconds < 10


def test_status_of_a_signal_is_negative() -> None:
    done = process.run(["sh", "-c", "kill -TERM $$"], deadline=10, check=False)
    assert done.status == -signal.SIGTERM


def test_failed_command_says_what_it_said_last() -> None:
    with pytest.raises(process.CommandFailed) as caught:
        process.run(["sh", "-c", "echo first >&2; echo second >&2; exit 7"], deadline=10)
    assert caught.value.message == "sh ended with status 7: second"
    assert "echo first" in caught.value.hint
    assert caught.value.completed.status == 7
    assert caught.value.exit_status == EXIT_HOST


def test_failed_command_that_says_nothing() -> None:
    with pytest.raises(process.CommandFailed, match="it printed nothing"):
        process.run(["false"], deadline=10)


def test_cpu_seconds_count_children() -> None:
    # A grandchild burns the time; the shell waits for it.
    loop = "i=0; while [ $i -lt 60000 ]; do i=$((i+1)); done"
    done = process.run(["sh", "-c", f"sh -c '{loop}'; true"], deadline=30)
    assert done.cpu_seconds > 0.01


def test_input_is_fed_and_large_output_read() -> None:
    data = os.urandom(3 << 20)
    assert process.run(["cat"], deadline=30, input=data).stdout == data


def test_command_that_does_not_read_its_input() -> None:
    assert process.run(["true"], deadline=10, input=b"x" * (1 << 20)).status == 0


def test_no_text_is_replaced_not_raised() -> None:
    assert process.run(["printf", r"\377ok"], deadline=10).text == "\ufffdok"


# ---------------------------------------------------------------- what a command runs in


def test_environment_is_clean(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MAKEFLAGS", "-j99")
    monkeypatch.setenv("LANG", "de_DE.UTF-8")
    monkeypatch.setenv("GIT_DIR", "/nowhere")
    monkeypatch.setenv("HTTP_PROXY", "http://proxy:1")
    text = process.run(["env", "-0"], deadline=10, env={"EXTRA": "1"}).text
    seen = dict(line.split("=", 1) for line in text.split("\0") if line)
    assert not {"MAKEFLAGS", "LANG", "GIT_DIR"} & seen.keys()
    assert seen["LC_ALL"] == "C.UTF-8"
    assert seen["EXTRA"] == "1"
    assert seen["HTTP_PROXY"] == "http://proxy:1"
    assert len(seen["LAB_TOKEN"]) == 32
    assert seen["PATH"].endswith("/sbin")


def test_environment_without_path(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PATH")
    assert process.find_tool("sh")


def test_stdin_is_empty() -> None:
    target = process.run(["readlink", "/proc/self/fd/0"], deadline=10).text.strip()
    assert target == "/dev/null"
    assert process.run(["cat"], deadline=10).stdout == b""


def test_descriptors_are_not_inherited(tmp_path: Path) -> None:
    with (tmp_path / "mine").open("w") as mine:
        os.set_inheritable(mine.fileno(), True)
        listed = process.run(["sh", "-c", "ls -l /proc/self/fd"], deadline=10).text
    assert "mine" not in listed


def test_cwd(tmp_path: Path) -> None:
    assert process.run(["pwd"], deadline=10, cwd=tmp_path).text.strip() == str(tmp_path)


def test_missing_tool() -> None:
    with pytest.raises(process.ToolMissing) as caught:
        process.run(["no-such-program-here"], deadline=10)
    assert "no-such-program-here" in caught.value.message
    assert "lab doctor" in caught.value.hint
    assert process.find_tool("no-such-program-here") is None


def test_file_that_is_no_program(tmp_path: Path) -> None:
    broken = tmp_path / "broken"
    broken.write_bytes(b"\x7fELF nonsense")
    broken.chmod(0o755)
    with pytest.raises(HostError, match="cannot start"):
        process.run([broken], deadline=10)


# ---------------------------------------------------------------- the log and its lines


def test_log_and_lines_in_order(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_text("before\n")
    lines: list[str] = []
    done = process.run(
        ["sh", "-c", "echo one; echo two >&2; printf 'three\\r\\nlast'"],
        deadline=10, log=log, on_line=lines.append,
    )  # fmt: skip
    assert lines == ["one", "two", "three", "last"]
    assert done.stdout == b"one\ntwo\nthree\r\nlast"
    assert done.stderr == b""
    assert log.read_bytes() == b"before\n" + done.stdout


def test_log_that_cannot_be_opened(tmp_path: Path) -> None:
    with pytest.raises(HostError, match="cannot write"):
        process.run(["true"], deadline=10, log=tmp_path / "no" / "log")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full")
def test_full_disk_is_the_hosts_trouble_and_stops_the_command() -> None:
    began = time.monotonic()
    with pytest.raises(HostError, match="No space left"):
        process.run(["sh", "-c", "echo x; exec sleep 60"], deadline=60, log=Path("/dev/full"))
    assert time.monotonic() - began < 10


def test_trouble_of_a_line_reader_is_not_lost() -> None:
    def reader(line: str) -> None:
        raise ValueError(line)

    with pytest.raises(ValueError, match="hello"):
        process.run(["sh", "-c", "echo hello; exec sleep 60"], deadline=60, on_line=reader)


# ---------------------------------------------------------------- deadlines


def test_deadline_kills_the_whole_group(tmp_path: Path) -> None:
    pids = tmp_path / "pids"
    script = f"sleep 100 & echo $! $$ > {pids}; wait"
    began = time.monotonic()
    with pytest.raises(process.DeadlineExpired) as caught:
        process.run(["sh", "-c", script], deadline=0.4)
    assert time.monotonic() - began < 4
    assert "did not end within 0 s" in caught.value.message
    assert wait_gone(read_pids(pids, 2), 2) == []


def test_background_children_do_not_outlive_a_command(tmp_path: Path) -> None:
    pids = tmp_path / "pids"
    process.run(["sh", "-c", f"sleep 100 >/dev/null 2>&1 & echo $! > {pids}"], deadline=10)
    assert wait_gone(read_pids(pids, 1), 2) == []


def test_pipe_held_by_another_session_does_not_hang(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The grandchild escapes the group and keeps the pipe open: the command is over all the same.
    monkeypatch.setattr(process, "PATIENCE", 0.3)
    pids = tmp_path / "pids"
    began = time.monotonic()
    done = process.run(
        ["sh", "-c", f"setsid sh -c 'echo $$ > {pids}; exec sleep 30' & echo done; sleep 0.2"],
        deadline=20,
    )
    assert done.stdout == b"done\n"
    assert time.monotonic() - began < 5
    os.kill(read_pids(pids, 1)[0], signal.SIGKILL)


def test_start_kills_the_group_at_the_end(tmp_path: Path) -> None:
    pids = tmp_path / "pids"
    with process.start(["sh", "-c", f"sleep 100 & echo $! $$ > {pids}; wait"]) as child:
        found = read_pids(pids, 2)
        assert child.pid in found
        assert all(alive(pid) for pid in found)
    assert wait_gone(found, 2) == []
    assert child.returncode == -signal.SIGKILL


def test_start_kills_when_the_block_raises(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError), process.start(["sleep", "100"]) as child:
        raise RuntimeError
    assert wait_gone([child.pid], 2) == []


def test_commands_from_many_threads() -> None:
    found: list[bytes] = []
    threads = [
        threading.Thread(
            target=lambda n=n: found.append(process.run(["echo", str(n)], deadline=20).stdout)
        )
        for n in range(12)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert sorted(found) == sorted(b"%d\n" % n for n in range(12))


# ---------------------------------------------------------------- interruption


def in_subprocess(code: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """cancel() is for good: it is tested in a process of its own."""
    return subprocess.run(
        [sys.executable, "-c", code, *arguments], cwd=HOME, capture_output=True, text=True,
        timeout=30,
    )  # fmt: skip


def test_cancel_stops_what_runs_and_what_would_start() -> None:
    code = """
import threading, time
from orchestrator.host import process
from orchestrator.model.errors import Interrupted
said = []
def work(call):
    try:
        call()
    except Interrupted as error:
        said.append(error.exit_status)
def held():
    with process.start(["sleep", "60"]) as child:
        child.wait()
        process.sleep(60)
calls = [
    lambda: process.run(["sh", "-c", "sleep 60; echo"], deadline=60),
    lambda: process.sleep(60), held,
]
threads = [threading.Thread(target=work, args=(call,)) for call in calls]
for thread in threads: thread.start()
time.sleep(0.4)
assert not process.cancelled()
began = time.monotonic()
process.cancel()
assert process.cancelled()
for thread in threads: thread.join(5)
assert not any(thread.is_alive() for thread in threads)
assert time.monotonic() - began < 2
work(lambda: process.run(["true"], deadline=5))
work(lambda: process.start(["true"]).__enter__())
print(said)
"""
    done = in_subprocess(code)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "[130, 130, 130, 130, 130]\n"


def test_cancel_asks_commands_first_and_guests_never(tmp_path: Path) -> None:
    # The command cleans up, the second one would rather stay, and the guest is not asked.
    code = """
import sys, threading, time
from pathlib import Path
from orchestrator.host import process
from orchestrator.model.errors import Interrupted
told = Path(sys.argv[1])
head = "import signal, sys, time; told = sys.argv[1]; on = signal.signal; term = signal.SIGTERM; "
tail = "open(told + '.%s', 'w').close(); time.sleep(60)"
say = "on(term, lambda *_: (print('%s', file=open(told, 'a')), sys.exit(1))); "
scripts = {
    "cleans": head + say % "clean" + tail % 1,
    "stays": head + "on(term, signal.SIG_IGN); " + tail % 2,
    "guest": head + say % "guest" + tail % 3,
}
ended = {}
def work(name):
    argv = [sys.executable, "-S", "-c", scripts[name], str(told)]
    try:
        if name != "guest":
            process.run(argv, deadline=60)
        else:
            with process.start(argv) as child:
                child.wait()
                raise Interrupted("")
    except Interrupted:
        ended[name] = time.monotonic() - began
threads = [threading.Thread(target=work, args=(name,)) for name in scripts]
for thread in threads: thread.start()
while not all(Path(f"{told}.{n}").exists() for n in (1, 2, 3)): time.sleep(0.02)
began = time.monotonic()
process.cancel()
for thread in threads: thread.join(5)
assert ended["guest"] < 0.8 and ended["cleans"] < 0.8 and 0.9 < ended["stays"] < 2, ended
"""
    done = in_subprocess(code, str(tmp_path / "told"))
    assert done.returncode == 0, done.stderr
    # It may be asked twice: by cancel(), and by who waits for it.
    assert set((tmp_path / "told").read_text().splitlines()) == {"clean"}


def test_deadline_asks_first(tmp_path: Path) -> None:
    script = f"trap 'echo clean > {tmp_path}/told; exit 0' TERM; while :; do sleep 0.05; done"
    with pytest.raises(process.DeadlineExpired):
        process.run(["sh", "-c", script], deadline=0.3)
    assert (tmp_path / "told").read_text() == "clean\n"


def test_interrupt_in_the_main_thread_kills_the_command(tmp_path: Path) -> None:
    code = """
import os, signal, sys, threading, time
from pathlib import Path
from orchestrator.host import process
signal.signal(signal.SIGINT, signal.default_int_handler)  # it may be ignored where tests start
told = Path(sys.argv[1])
def waiting():
    frame = sys._current_frames()[threading.main_thread().ident]
    while frame and frame.f_code.co_name != "_wait": frame = frame.f_back
    return frame and told.exists() and told.read_text().endswith("\\n")
def interrupt():
    until = time.monotonic() + 10
    while not waiting() and time.monotonic() < until: time.sleep(0.02)
    os.kill(os.getpid(), signal.SIGINT)
def state(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return "gone"
threading.Thread(target=interrupt, daemon=True).start()
try:
    process.run(["sh", "-c", "echo $$ > %s; exec sleep 60" % told], deadline=60)
except KeyboardInterrupt:
    pid, until = told.read_text().strip(), time.monotonic() + 10
    while state(pid) not in ("Z", "gone") and time.monotonic() < until: time.sleep(0.02)
    print(state(pid))
"""
    done = in_subprocess(code, str(tmp_path / "pid"))
    assert done.stdout.strip() in ("Z", "gone"), done.stderr


def test_nothing_survives_a_killed_lab(tmp_path: Path) -> None:
    # What an out-of-memory killer does: the lab has no chance to clean up.  One grandchild has
    # made a session of its own, one child has closed all its descriptors.
    pids = tmp_path / "pids"
    code = """
import sys, time
from orchestrator.host import process
script = '''
sleep 100 & echo $! >> %s
setsid sh -c 'echo $$ >> %s; exec sleep 100' &
sh -c 'exec <&- >&- 2>&-; sleep 100 & echo $! >> %s; wait' &
echo $$ >> %s; wait
''' % ((sys.argv[1],) * 4)
with process.start(["sh", "-c", script]) as child:
    time.sleep(100)
"""
    lab = subprocess.Popen([sys.executable, "-c", code, str(pids)], cwd=HOME)
    try:
        found = read_pids(pids, 4)
        assert all(alive(pid) for pid in found)
    finally:
        lab.kill()
        lab.wait(10)
    assert wait_gone(found, 20.0) == []


def test_temporary_files_go_with_the_lab(tmp_path: Path) -> None:
    # They lie in the user's TMPDIR; what the lab has made there is left to no other.
    code = """
import sys, time
from orchestrator.host import process
folder = process.temp_folder()
assert process.run(["mktemp"], deadline=5).text.startswith(f"{folder}/")
assert process.run(["printenv", "TMPDIR"], deadline=5, env={"TMPDIR": "/x"}).text == "/x\\n"
assert folder.stat().st_mode & 0o777 == 0o711
print(folder, flush=True)
time.sleep(float(sys.argv[1]))
"""
    env = {**os.environ, "TMPDIR": str(tmp_path)}
    for seconds in ("0", "100"):
        lab = subprocess.Popen(
            [sys.executable, "-c", code, seconds], cwd=HOME, env=env, stdout=subprocess.PIPE,
            text=True,
        )  # fmt: skip
        assert lab.stdout
        try:
            folder = Path(lab.stdout.readline().strip())
            assert folder.parent == tmp_path
            if seconds != "0":
                assert list(folder.iterdir())
        finally:
            if seconds != "0":
                lab.kill()
            lab.stdout.close()
            lab.wait(20)
        until = time.monotonic() + 10
        while folder.exists() and time.monotonic() < until:
            time.sleep(0.05)
        assert list(tmp_path.iterdir()) == []


def test_what_is_launched_outlives_the_lab(tmp_path: Path) -> None:
    """A browser is the user's: in a session of its own, and the reaper does not know it."""
    said = tmp_path / "said"
    process.launch(["sh", "-c", f"echo $$ >{said}; env >>{said}; exec sleep 30"], patience=0.5)
    pid, *environment = said.read_text().splitlines()
    try:
        assert alive(int(pid))
        assert os.getsid(int(pid)) == int(pid)
        assert not any(line.startswith("LAB_TOKEN=") for line in environment)
    finally:
        os.kill(int(pid), signal.SIGKILL)


def test_a_launch_that_fails_at_once_is_told() -> None:
    with pytest.raises(process.CommandFailed, match="status 3"):
        process.launch(["sh", "-c", "exit 3"])
    with pytest.raises(process.ToolMissing):
        process.launch(["no-such-browser"])
