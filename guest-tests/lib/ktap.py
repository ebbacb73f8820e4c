# SPDX-License-Identifier: GPL-2.0-only
"""KTAP version 1 for the Python workloads; the counterpart of ktap.c.

Kept to few imports: under emulation every imported module is felt in the start-up time.
"""

import os
import sys

EXIT_OK = 0
EXIT_FAIL = 1
EXIT_SKIP = 4


class Skip(Exception):
    """Ends the running case as skipped; the message is the exact reason."""


class Fail(Exception):
    """Ends the running case as failed; the message becomes a diagnostic line."""


def put(line):
    """Write one line with one write(2), so that lines of several processes never mix."""
    os.write(1, (line + "\n").encode("utf-8", "backslashreplace"))


def diag(text):
    """Write a diagnostic; it stands before the result line it belongs to."""
    for line in str(text).splitlines() or [""]:
        put("# " + line)


def measure(name, value, unit):
    """Report a figure: ``# MEASURE name=NAME value=VALUE unit=UNIT``."""
    diag(f"MEASURE name={name} value={value:.3f} unit={unit}")


def check(condition, message):
    """Fail the running case with the caller's file and line unless the condition holds."""
    if not condition:
        frame = sys._getframe(1)
        name = frame.f_code.co_filename.rpartition("/")[2]
        raise Fail(f"{name}:{frame.f_lineno}: {message}")


def check_equal(got, expected, what):
    """Fail the running case with what it got and what it expected unless they are equal."""
    if got != expected:
        frame = sys._getframe(1)
        name = frame.f_code.co_filename.rpartition("/")[2]
        raise Fail(f"{name}:{frame.f_lineno}: {what}: got {got}, expected {expected}")


def run(cases, skip_all=None):
    """Run ``(name, function)`` pairs and return the exit status: 0 ok, 1 failed, 4 all skipped.

    The plan comes first, so that a program that dies half way leaves a plan unmet.
    """
    put("KTAP version 1")
    put(f"1..{len(cases)}")
    failed = skipped = 0
    for number, (name, function) in enumerate(cases, 1):
        try:
            if skip_all:
                raise Skip(skip_all)
            function()
        except Skip as reason:
            skipped += 1
            put(f"ok {number} {name} # SKIP {reason}")
        except Exception as error:  # whatever it is, the next case still runs
            failed += 1
            diag(error if isinstance(error, Fail) else f"{type(error).__name__}: {error}")
            put(f"not ok {number} {name}")
        else:
            put(f"ok {number} {name}")
    if failed:
        return EXIT_FAIL
    return EXIT_SKIP if skipped == len(cases) else EXIT_OK
