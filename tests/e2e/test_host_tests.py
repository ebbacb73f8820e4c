# SPDX-License-Identifier: GPL-2.0-only
"""Host tests of the real 6.12: a wrong line in mm/vma.c is told with file and line."""

from __future__ import annotations

from pathlib import Path

import pytest
from labrun import HOME, lab_run

from orchestrator.model.arch import HOST_ARCH

pytestmark = pytest.mark.guest

PLANT = HOME / "tests/plants/host/vma-forgets-length.patch"


def test_a_wrong_line_turns_red_beside_a_clean_base(tmp_path: Path) -> None:
    words = ("-p", "host", "--workload", "host/vma/vma/plain", "--baseline", "v6.12")
    ran = lab_run(tmp_path / "run", *words, "--series", str(PLANT), deadline=900)
    assert ran.status == 1, ran.output
    assert ran.results["builds"] == []
    place = f"host/{HOST_ARCH}/-"
    cells = {cell["id"]: cell["verdict"] for cell in ran.results["cells"]}
    assert cells == {f"cli/{place}": "fail", f"v6.12/{place}": "pass"}, ran.bad()
    found = [text for text in ran.bad() if "Assert FAILED" in text]
    assert f"fail cli/{place}:host/vma/vma/plain:simple_merge: tools/testing/vma/vma.c:" in found[0]
    assert all(text.startswith(f"fail cli/{place}:host/vma/vma/plain:") for text in found)
