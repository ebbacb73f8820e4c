# SPDX-License-Identifier: GPL-2.0-only
"""Which function a report is about, by kind of report."""

import pytest

from orchestrator.evidence.klog.guilt import below_interrupt, guilty, whose


def trace(*names, head="Call Trace:"):
    return [head, *(f" {name}+0x1/0x20" for name in names)]


def test_the_header_wins_unless_it_only_serves():
    assert guilty(trace("g"), "f") == "f"
    assert guilty(trace("kasan_report", "memcpy", "g"), "memcpy") == "g"


def test_where_the_cpu_stood_comes_before_its_callers():
    lines = ["RIP: 0010:here+0x1/0x2", *trace("there")]
    assert guilty(lines) == "here"
    assert guilty(["RIP: 0033:user+0x1/0x2", *trace("there")]) == "there"
    assert guilty(["pc : here+0x1/0x2", "lr : there+0x1/0x2", *trace("here", "there")]) == "here"
    assert guilty(["RIP: 0010:[<ffffffff8107e4ab>]  [<ffffffff8107e4ab>] here+0x1/0x2"]) == "here"
    assert guilty(["PC is at here+0x1/0x2", "LR is at there+0x1/0x2"]) == "here"


@pytest.mark.parametrize(
    "jump", ["RIP: 0010:0x286", "RIP: 0010:__x86_indirect_thunk_rax+0x1/0x20", "pc : 0x0"]
)
def test_a_jump_astray_is_its_callers(jump):
    assert guilty([jump, "Call Trace:", " ? caller+0x1/0x2", " next+0x1/0x2"]) == "caller"
    assert guilty([jump, *trace("process_one_work", "worker_thread")]) == "process_one_work"


def test_guesses_and_inlined_calls_do_not_count():
    lines = ["Call Trace:", " ? stale+0x1/0x2", " inl mm/x.c:12 [inline]", " real+0x1/0x2 mm/x.c:9"]
    assert guilty(lines) == "real"


def test_older_and_other_frames():
    assert guilty(["Call Trace:", " <IRQ>  [<ffffffff816ecb37>] old+0x31a/0x325"]) == "old"
    assert guilty(["Call Trace:", " [<ffffffff816ecb37>] old+0x31a/0x325"]) == "old"
    arm = "[<8271587c>] (show_stack) from [<827263b0>] (dump_stack+0xa8/0xc8)"
    other = "[<8133f374>] (macvlan_broadcast) from [<8133fffc>] (macvlan_process+0x154/0x258)"
    assert guilty(["Backtrace: ", arm, other]) == "macvlan_broadcast"


REPORTER = ["dump_stack", "nmi_cpu_backtrace", "a_new_reporter", "hrtimer_interrupt"]


@pytest.mark.parametrize(
    "entry",
    [
        ["smp_apic_timer_interrupt", "apic_timer_interrupt"],
        ["__sysvec_apic_timer_interrupt", "sysvec_apic_timer_interrupt",
         "asm_sysvec_apic_timer_interrupt"],
        ["gic_handle_irq", "call_on_irq_stack", "do_interrupt_handler", "el1_interrupt",
         "el1h_64_irq_handler", "el1h_64_irq"],
        ["gic_handle_irq", "el1_irq"],
    ],
)  # fmt: skip
@pytest.mark.parametrize("middle", [[], [" </IRQ>", " <TASK>"], [" </IRQ>"]])
def test_a_stall_is_looked_for_below_the_interrupt(entry, middle):
    reporter = trace(*REPORTER, *entry)
    found = [*reporter, *middle, *trace("my_loop", "caller")[1:]]
    assert guilty(found, kind="rcu-stall") == "my_loop"
    stood = [*reporter, *middle, "RIP: 0010:my_loop+0x1/0x2", *trace("caller")[1:]]
    assert guilty(stood, kind="rcu-stall") == "my_loop"


def test_a_trace_behind_the_tasks_own_registers_is_the_tasks_own():
    lines = ["RIP: 0010:_raw_spin_lock+0x1/0x2", *trace("loop", "asm_sysvec_call_function", "f")]
    assert below_interrupt(lines) == lines
    assert guilty(lines, kind="soft-lockup") == "loop"
    only = trace("dump_stack", "asm_sysvec_apic_timer_interrupt")
    assert below_interrupt(only) == only


def test_whose_loop_it_is_stays_the_same_wherever_it_is_seen():
    below = ["move_pages", "userfaultfd_ioctl", "__x64_sys_ioctl", "do_syscall_64"]
    for top in (["leaf", "helper"], ["helper"], ["_raw_spin_lock"]):
        lines = ["RIP: 0010:x+0x1/0x2", *trace(*top, *below)]
        assert whose(lines, "soft-lockup") == "userfaultfd_ioctl"
    assert whose(trace("f", "g"), "soft-lockup") == ""
    assert whose(trace("smp_call_function_many_cond", "f", "kthread"), "rcu-stall") == (
        "smp_call_function"
    )


LOCK = "ffff888004a5c3c8 (&mm->mmap_lock){++++}-{3:3}, at: "


def test_lockdep_says_where_the_lock_was_taken():
    header = "WARNING: possible recursive locking detected"
    stack = trace("dump_stack", "__lock_acquire", "down_read", "helper", "taker")
    lines = [header, "a/1 is trying to acquire lock:", f"{LOCK}taker+0x1/0x2", *stack]
    assert guilty(lines, kind="lockdep") == "taker"
    second = [header, f"{LOCK}down_trylock+0x1/0x2", "but task is already holding lock:",
              f"{LOCK}holder+0x1/0x2", *stack]  # fmt: skip
    assert guilty(second, kind="lockdep") == "holder"
    held = [header, f"{LOCK}down_trylock+0x1/0x2", "2 locks held by a/1:",
            f" #0: {LOCK}other+0x1/0x2", *stack]  # fmt: skip
    assert guilty(held, kind="lockdep") == "helper"
    old = [header, "(&a){+.+.}, at: [<ffffffff8132e9a1>] taker+0x1/0x2", *stack]
    assert guilty(old, kind="lockdep") == "taker"
    unlock = ["WARNING: bad unlock balance detected!", "a/1 is trying to release lock (&a) at:",
              "[<ffffffff8132e9a1>] taker+0x1/0x2", *stack]  # fmt: skip
    assert guilty(unlock, kind="lockdep") == "taker"


def test_of_two_contexts_the_first_that_lockdep_shows_counts():
    lines = [
        "WARNING: HARDIRQ-safe -> HARDIRQ-unsafe lock order detected",
        f"{LOCK}kill+0x1/0x2",
        "... which became HARDIRQ-irq-safe at:",
        *trace("lock_acquire", "_raw_spin_lock_irqsave", "timer_fn")[1:],
        *trace("dump_stack", "kill"),
    ]
    assert guilty(lines, kind="lockdep") == "timer_fn"


def test_a_work_item_is_named_by_the_message():
    lines = ["BUG: workqueue leaked atomic, lock or RCU: kworker/0:1[353]",
             "     preempt=0x00000000 lock=0->1 RCU=0->0 workfn=my_work",
             *trace("dump_stack", "process_one_work")]  # fmt: skip
    assert guilty(lines, kind="atomic-sleep") == "my_work"
    lines[1] = "     last function: my_work"
    assert guilty(lines, kind="atomic-sleep") == "my_work"


def test_nobody_where_only_the_machinery_is_seen():
    assert guilty(trace("dump_stack", "kthread", "ret_from_fork")) == ""
    assert guilty([]) == ""
