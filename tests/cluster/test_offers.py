# SPDX-License-Identifier: GPL-2.0-only
"""What a machine offers, and what a task asks of those that there are."""

from __future__ import annotations

from pathlib import Path

from orchestrator.cluster.offers import asked, can, code, offered
from orchestrator.host.cache.files import Cache
from orchestrator.plan.graph import EVERY, Needs

LAB = f"lab-{code()}"


def machine(cpus: float, memory: float = 8000, **more: float) -> dict[str, float]:
    able = {LAB: 1e6, "guests-x86_64": 1e6, "guests-arm64": 1e6, "native-x86_64": 1e6}
    return {"cpus": cpus, "memory": memory, "disk": 50_000, "builds": 1, **able, **more}


def test_this_machine(tmp_path: Path) -> None:
    found = offered(Cache(tmp_path), cores=3)
    assert found["cpus"] == 3
    assert found["memory"] > 500
    assert found["disk"] > 100
    assert any(name.startswith("guests-") for name in found)
    assert can(found, asked(Needs(1, 10, 10), [found]))


def test_a_guest_asks_for_what_it_holds() -> None:
    wanted = asked(Needs(2, 1280, 256, "arm64"), [machine(4), machine(8)])
    assert wanted == {LAB: 1, "guests-arm64": 1, "cpus": 2, "memory": 1280, "disk": 256}


def test_where_no_machine_is_large_enough_it_takes_the_whole_of_the_largest() -> None:
    wanted = asked(Needs(8, 16_000, 256, "arm64"), [machine(1), machine(2)])
    assert (wanted["cpus"], wanted["memory"]) == (2, 8000)


def test_a_build_may_go_to_any_machine_and_is_alone_there() -> None:
    wanted = asked(Needs(EVERY, 2000, 1200, "x86_64"), [machine(16), machine(4)])
    assert (wanted["cpus"], wanted["builds"]) == (4, 1)


def test_kvm_is_asked_for_where_it_has_to_be() -> None:
    offers = [machine(2), machine(1, **{"kvm-x86_64": 1e6})]
    wanted = asked(Needs(2, 100, 100, "x86_64", kvm=True), offers)
    assert [can(offer, wanted) for offer in offers] == [False, True]
    assert wanted["cpus"] == 1  # of those that have it


def test_host_tests_hold_no_cores_and_go_to_their_own_architecture() -> None:
    wanted = asked(Needs(None, 2048, 0, "arm64"), [machine(2)])
    assert wanted == {LAB: 1, "native-arm64": 1, "memory": 2048}
    assert not can(machine(2), wanted)


def test_another_lab_is_no_worker_of_this_one() -> None:
    other = machine(2)
    other["lab-000000000000"] = other.pop(LAB)
    assert not can(other, asked(Needs(1, 1, 1, "x86_64"), [other]))
