# SPDX-License-Identifier: GPL-2.0-only
"""Run one KUnit suite of the running kernel:  run.py SUITE

A suite that is built in is started by its file ``run`` in debugfs, which it has once it was
registered at boot (lib/kunit/debugfs.c, since v6.8); any other one by loading its module, which
runs it (kunit_module_init() of lib/kunit/test.c).  Its KTAP is
taken from /dev/kmsg while it runs, so that what passed before a crash is known.
"""

import os
import sys
import time

import ktap

MODULES = "/lib/modules"
DEBUGFS = "/sys/kernel/debug/kunit"
KUNIT = "/sys/module/kunit"
# struct kunit_suite of include/kunit/test.h begins with its name, in so many bytes.
NAME_BYTES = 256
# Documentation/ABI/testing/dev-kmsg: a read gives one record of this size at most.
RECORD = 8192 + 1024
# How each line of KUnit begins (lib/kunit/test.c): a result, a plan, a version, a diagnostic.
RESULTS = ("ok ", "not ok ")
BEGINNINGS = (*RESULTS, "1..", "KTAP version ", "#")


# ---------------------------------------------------------------- modules


def modules():
    """The modules that the guest has of its kernel: paths below /lib/modules."""
    top = f"{MODULES}/{os.uname().release}"
    found = [f"{folder}/{name}" for folder, _, names in os.walk(top) for name in names]
    return sorted(path for path in found if path.endswith(".ko"))


def content(path):
    """All of a file."""
    file = os.open(path, os.O_RDONLY)
    try:
        return os.read(file, os.fstat(file).st_size)
    finally:
        os.close(file)


def holds(module, suite):
    """Whether a module's data has a suite of this name."""
    wanted = suite.encode().ljust(NAME_BYTES, b"\0")
    at = module.find(wanted)
    while at != -1:
        if at % 8 == 0:  # where a structure may begin; elsewhere it is the end of another name
            return True
        at = module.find(wanted, at + 1)
    return False


def load(path):
    """Become what loads a module, and those that it needs; its suites have run when this ends."""
    name = path.rpartition("/")[2][: -len(".ko")]
    os.execvp("busybox", ["busybox", "modprobe", name])


# ---------------------------------------------------------------- ways to start a suite


def way(suite):
    """How to start a suite: a function, and whether it prints the header of its KTAP itself.

    :raises ktap.Skip: where this kernel has no such suite, or it cannot be started any more.
    """
    own = f"{DEBUGFS}/{suite}"
    if there(f"{own}/run"):
        return lambda: write(f"{own}/run", "1"), False
    if there(own):
        raise ktap.Skip(f"this kernel runs the suite {suite} at boot only")
    paths = modules()
    module = next((path for path in paths if holds(content(path), suite)), None)
    if module is None:
        raise ktap.Skip(absent(suite, paths))

    def start():
        only = f"{KUNIT}/parameters/filter_glob"
        if there(only):  # of several suites in a module this one
            write(only, suite)
        load(module)

    return start, True


def absent(suite, paths):
    """Why a suite cannot be run."""
    if not there(KUNIT):
        return "the kernel has no CONFIG_KUNIT"
    if not paths:
        return f"the suite {suite} is not built in, and the guest has no modules"
    return (
        f"no module has a suite {suite}; one that is built in needs "
        "kunit.filter_glob on the kernel's command line to match it"
    )


def there(path):
    """Whether a file or a folder is there."""
    return os.access(path, os.F_OK)


def write(path, text):
    """Write to a file of the kernel's."""
    file = os.open(path, os.O_WRONLY | os.O_TRUNC)
    try:
        os.write(file, text.encode())
    finally:
        os.close(file)


# ---------------------------------------------------------------- running


class Parameters:
    """The results of a parameterised case, for which 6.12's KUnit prints no plan.

    What it prints is how many there were, where there were several (kunit_print_test_stats()).
    """

    INDENT = "        "  # KUNIT_LEVEL_CASE_PARAM, with four blanks a level

    def __init__(self):
        self.open = self.planned = False
        self.seen = self.total = 0

    def lines(self, line):
        """What to print for a line, which itself is the last of it."""
        words = line.lstrip()
        result = words.startswith(RESULTS)
        if line.startswith(self.INDENT):
            self.open |= result or words.startswith("KTAP version ")
            self.planned |= words.startswith("1..")
            self.seen += result
        elif self.open and result:
            plan = [] if self.planned else [f"{self.INDENT}1..{self.total or self.seen}"]
            self.__init__()
            return [*plan, line]
        elif self.open and " total:" in words:
            self.total = int(words.rpartition(":")[2])
        elif self.open:  # what a parameter's run says belongs to its result
            return [self.INDENT + words]
        return [line]


class Log:
    """KUnit's lines of the kernel log from now on."""

    def __init__(self):
        self.file = os.open("/dev/kmsg", os.O_RDONLY | os.O_NONBLOCK)
        os.lseek(self.file, 0, os.SEEK_END)
        self.begin()

    def begin(self):
        """Nothing was read yet."""
        self.failed = self.seen = False
        self.parameters = Parameters()

    def wait(self):
        """A moment, for there to be more."""
        time.sleep(0.02)

    def copy(self):
        """Write all that is there to stdout."""
        while True:
            try:
                record = os.read(self.file, RECORD)
            except BlockingIOError:
                return
            except BrokenPipeError:  # overwritten before it was read
                ktap.diag("lab: the kernel log lost records")
                continue
            head, _, rest = record.decode("utf-8", "replace").partition(";")
            priority = head.partition(",")[0]
            if priority.isdigit() and int(priority) < 8:  # of the kernel, not of a program
                self.put(unescaped(rest.partition("\n")[0]))

    def put(self, text):
        """Write a message of KUnit's.

        Of one with several lines, such as a failed expectation, the others are diagnostics too.
        """
        first, *more = text.split("\n")
        words = first.lstrip()
        if words.startswith("kunit: disabled"):
            ktap.put("Bail out! kunit.enable is off: the kernel runs no suite")
        # An attribute of the suite is no part of what its first case says.
        if not words.startswith(BEGINNINGS) or words.startswith("# module: "):
            return
        self.seen = True
        self.failed |= words.startswith("not ok ")
        blanks = first[: len(first) - len(words)]
        for line in [first, *(f"{blanks}# {line.strip()}" for line in more if line.strip())]:
            for told in self.parameters.lines(line):
                ktap.put(told)


def unescaped(text):
    r"""A message as it was printed: /dev/kmsg writes what cannot be shown as ``\x0a``."""
    first, *rest = text.split("\\x")
    return first + "".join(chr(int(part[:2], 16)) + part[2:] for part in rest)


def run(suite):
    """Run a suite; give the exit status."""
    try:
        start, header = way(suite)
    except ktap.Skip as reason:
        ktap.put("KTAP version 1")
        ktap.put(f"1..0 # SKIP {reason}")
        return ktap.EXIT_SKIP
    log = Log()
    if not header:
        ktap.put("KTAP version 1")
        ktap.put("1..1")
    # A process of its own: an oops in it must not take along who reads the log.
    child = os.fork()
    if child == 0:
        try:
            start()
        except OSError as error:
            ktap.diag(error)
            os._exit(ktap.EXIT_FAIL)
        os._exit(ktap.EXIT_OK)
    status = None
    while status is None:
        log.wait()
        log.copy()
        ended, how = os.waitpid(child, os.WNOHANG)
        if ended:
            status = os.waitstatus_to_exitcode(how)
    log.copy()
    if status > 0:
        ktap.put(f"Bail out! the suite {suite} could not be started: exit status {status}")
    if status < 0:
        ktap.put(f"Bail out! what ran the suite {suite} was killed by signal {-status}")
    if status == 0 and not log.seen:
        ktap.diag("lab: the kernel printed nothing of a suite")
    return ktap.EXIT_FAIL if status != 0 or log.failed else ktap.EXIT_OK


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: run.py SUITE")
    sys.exit(run(sys.argv[1]))
