# SPDX-License-Identifier: GPL-2.0-only
"""Stack frames of a kernel-log report: each ``function+0xOFFSET/0xSIZE``, and what it says.

The kernel prints most of them as return addresses, which belong to the line of the call before
them, and some as the very address at which the CPU stood: RIP and pc, and the address of a
``WARNING: ... at FILE:LINE func+...`` (report_bug() in lib/bug.c of v6.12) or of a page fault that
KFENCE reports (mm/kfence/report.c).  arm64 begins an exception's trace with the pc itself
(dump_backtrace() in arch/arm64/kernel/stacktrace.c of v6.12; marked ``(P)`` since v6.13).
"""

from __future__ import annotations

import re
from dataclasses import dataclass

# More of a report is noise: a page_owner dump, all tasks of the system.
MAX_LINES = 500
_WIDTH = 400

#: A line of a trace, as it begins; any caller's name counts.
FRAME = re.compile(
    r"(?:(?:kmemleak:)?\s+|\s*\[<[0-9a-fx]+>\] ?)(?P<guess>\? )?(?P<func>[A-Za-z_.$][\w.$]*)"
    r"\+0x[0-9a-f]+/0x[0-9a-f]+"
)
# Without CONFIG_KALLSYMS a frame is a bare address.
BARE_FRAME = re.compile(r"\s+(?:\? )?0x[0-9a-f]{8,16}\s*$|\s*\[<[0-9a-fx]{8,18}>\]\s*$")
# A place anywhere in a line, with its numbers.
_PLACE = re.compile(
    r"(?P<before>\? )?(?<![\w.$])(?P<func>[A-Za-z_.$][\w.$]{0,200})"
    r"\+0x(?P<off>[0-9a-f]{1,8})/0x(?P<size>[0-9a-f]{1,8})(?![0-9a-fx])"
    r"(?P<after> \[[\w-]+\]| \([A-Z]{1,4}\))?"
)
_EXACT = re.compile(
    r"(?:.{0,60}\])? ?(?:RIP: 0010:$|pc ?: $|WARNING: .{0,200}\bat "
    r"|BUG: KFENCE: (?:out-of-bounds|use-after-free) (?:read|write) in $)"
)


# Frames that carry a report out or wait for something: never the function to blame.
_GENERIC = re.compile(
    r"(?:"
    # printing and dying
    r"_*dump_stack(?:_lvl)?|show_stack|show_trace_log_lvl|dump_backtrace|show_regs|print_\w+|_*warn"
    r"|_*warn_\w+|report_bug|handle_bug|handle_exception|call_break_hook|call_el1_break_hook|bug_handler"
    r"|\w*bug_handler|\w*brk_handler|do_el[01]_\w+|arm64_\w+_panic|arm64_notify_die|nmi_panic|panic_\w+"
    r"|_*do_kernel_fault|do_tag_\w+|do_alignment_fault|do_serror|handle_bad_stack|handle_stack_overflow"
    r"|_*fortify_\w+|do_debug_exception|_*die\w*|panic|vpanic|oops_\w+|make_task_dead|do_exit"
    r"|page_fault_oops|kernelmode_fixup_or_oops|no_context|_*bad_area\w*|do_kern_addr_fault"
    r"|do_user_addr_fault|_*do_page_fault|_*exc_\w+|asm_exc_\w+|el[01]\w*|do_mem_abort|do_sea|do_trap"
    r"|do_error_trap|do_undefinstr|do_translation_fault|do_bad_area|fixup_exception|bad_page|bad_page_\w+"
    r"|dump_page|_*dump_page|_*dump_folio|__might_\w+|might_fault|__cant_\w+|_*schedule_bug|rcu_dump_\w+"
    r"|dump_cpu_task|nmi_\w+|sched_show_task|watchdog_\w+|lockdep_\w+|warn_alloc\w*"
    r"|dump_header|oom_kill_process|out_of_memory|check_panic_on_warn|end_report|start_report"
    # checkers
    r"|_*k[ac]san_\w+|_*kfence_\w+|_*kmsan_\w+|__asan_\w+|__hwasan_\w+|__tsan_\w+|check_region_inline"
    r"|_*ubsan_\w+|handle_overflow|refcount_warn_saturate|_*refcount_\w+|__list_\w+_or_report"
    r"|__list_\w+_valid\w*|debug_(?:object|check|print|mutex|spin|rt|locks|smp)\w*|check_preemption_\w+"
    r"|_*page_table_check_\w+|vm_normal_\w+|__cfi_\w+|report_cfi_failure|usercopy_abort|_*check_heap_object|_*check_object_size"
    r"|validate_chain|check_prev\w*|check_noncircular|check_deadlock|check_wait_context|check_usage\w*"
    r"|mark_lock\w*|mark_usage|valid_state|_*lock_(?:acquire|release|contended|acquired|is_held)\w*"
    r"|_*kernel_(?:un)?poison_pages|check_poison_mem|spin_dump|rwlock_bug|__this_cpu_preempt_check"
    r"|__report_bad_irq|note_interrupt|_*kmemleak_\w+|_*(?:create|link|delete)_object\w*"
    # locks and waiting
    r"|osq_lock\w*|mutex_spin_on_owner|_*flush_work\w*|_*synchronize_s?rcu\w*|kthread_(?:stop|park)\w*"
    r"|delay_tsc|_*(?:const_)?u?n?delay|_*const_udelay|msleep\w*|usleep_range\w*|cpu_relax|native_pause"
    r"|smp_call_function_\w+|on_each_cpu\w*|_*csd_lock_\w+|generic_exec_single|do_nanosleep"
    r"|_*raw_(?:spin|read|write)_\w+|do_raw_\w+|_*(?:native_|pv_|virt_)?queued_\w+|arch_spin_\w+|spin_bug"
    r"|_*mutex_(?:un)?lock\w*|_*down_(?:read|write)\w*|_*up_(?:read|write)\w*|rwsem_\w+|down|up"
    r"|_*schedule\w*|preempt_schedule\w*|_*cond_resched\w*|io_schedule\w*|context_switch|_*wait_for_\w+"
    r"|do_wait_for_common|_*wait_on_\w+|out_of_line_wait_\w+|bit_wait\w*|_*folio_(?:wait|lock)\w*"
    r"|_*rcu_read_(?:un)?lock\w*|percpu_(?:down|up)_\w+"
    # string and copy helpers
    r"|_*(?:mem|str)(?:cpy|set|move|cmp|chr|len|ncpy|lcpy|scpy|ncmp)\w*|_*(?:raw_)?copy_(?:to|from)_\w+"
    r"|_*arch_copy_\w+|rep_(?:movs|stos)_\w+|(?:clear|copy)_page(?:_\w+)?|_*(?:get|put)_user_\w+|_*(?:test_and_)?(?:set|clear)_bit\w*|_*arch_\w*bit\w*"
    # allocators
    r"|_*k[mvzc]?v?m?alloc\w*|_*krealloc\w*|_*k(?:mem|str)n?dup\w*|_*k?v?k?free(?:_\w+)?|_*kmem_cache_\w+|_*slab_\w+|_*slub_\w+|check_slab"
    r"|check_object|check_bytes\w*|object_err|free_(?:to_partial_list|debug_processing|consistency_checks)"
    r"|alloc_debug_processing|alloc_consistency_checks|init_object|do_slab_free|qlist_\w+|qlink_\w+"
    r"|_*free_(?:unref|frozen|one|pcppages|tail|page|pages)\w*|free_pages_prepare|free_page_is_bad\w*"
    r"|_*alloc_(?:frozen_)?pages\w*|get_page_from_freelist|prep_new_page|post_alloc_hook|rmqueue\w*"
    r"|check_new_page\w*|_*folio_put\w*|folios_put\w*|release_pages|_*vmalloc\w*|_*alloc_pages_slowpath"
    # timers, interrupts, entry
    r"|_*rcu_sched_clock_irq|rcu_pending|check_cpu_stall|print_cpu_stall\w*|update_process_times"
    r"|tick_\w+|_*hrtimer_\w+|_*sysvec_\w+|asm_sysvec_\w+|_*handle_irq\w*|handle_\w*_irq|generic_handle_\w+"
    r"|gic_handle_irq|call_on_irq_stack|do_interrupt_handler|(?:asm_)?common_interrupt|irqentry_\w+|syscall_exit_\w+|arch_timer_\w+|handle_percpu_\w+|irq_exit\w*"
    r"|handle_softirqs|_*do_softirq\w*|run_timer_softirq|do_softirq_own_stack|run_rebalance_domains|sched_balance_\w+|__switch_to\w*|do_syscall_64|do_el0_svc|invoke_syscall\w*"
    r"|entry_\w+|ret_from_fork\w*|kthread|x64_sys_call|trace_hardirqs_\w+|kcsan_\w+|_*sanitizer_\w+"
    r")"
)  # fmt: skip
_SUFFIX = re.compile(r"\.(?:isra|constprop|part|cold|llvm|lto_priv)(?:\.\d+)?.*$")


@dataclass(frozen=True)
class Frame:
    """A place in the kernel's code that a report names.

    ``row`` is the line of the report's text, from 1; ``exact`` tells the address of an instruction
    from a return address; ``guess`` what the unwinder found lying on the stack (``?``);
    ``generic`` a frame that carries reports out or enters the kernel, never the one to blame.
    """

    row: int
    function: str
    offset: int
    size: int
    exact: bool
    guess: bool
    generic: bool


def plain_function(name: str) -> str:
    """A function's name without what the compiler hung on (``.isra.0``, ``.cold``)."""
    return _SUFFIX.sub("", name.removeprefix("__pfx_"))


def is_generic(name: str) -> bool:
    """Whether a frame of this name is never the one to blame."""
    return _GENERIC.fullmatch(plain_function(name)) is not None


def is_frame(text: str) -> bool:
    """Whether a line is a stack frame."""
    return FRAME.match(text) is not None or BARE_FRAME.match(text) is not None


def find_frames(text: str) -> tuple[Frame, ...]:
    """Every place of a report's text, in its order, at most one a line.  Never raises on content.

    Frames of modules are left out: the lab's kernels have none, and whose code it is nobody knows.
    """
    found = []
    exact: set[tuple[str, str, str]] = set()
    for row, line in enumerate(text.split("\n")[:MAX_LINES], 1):
        match = _PLACE.search(line[:_WIDTH])
        if match is None or (match["after"] or "").startswith(" ["):
            continue
        key = (match["func"], match["off"], match["size"])
        if _EXACT.match(line[: match.start("func")]) or "P" in (match["after"] or ""):
            exact.add(key)
        found.append((row, key, match["before"] is not None))
    return tuple(
        Frame(
            row, key[0], int(key[1], 16), int(key[2], 16), key in exact, guess, is_generic(key[0])
        )
        for row, key, guess in found
    )


def worth_looking_up(frames: tuple[Frame, ...], limit: int) -> tuple[Frame, ...]:
    """At most ``limit`` places, those that tell most, in the order of their worth.

    One place may stand in several lines, and counts once.
    """
    ranked = sorted(frames, key=lambda f: (f.generic, f.guess, not f.exact, f.row))
    places = dict.fromkeys((f.function, f.offset, f.size) for f in ranked)
    kept = set(list(places)[:limit])
    return tuple(f for f in ranked if (f.function, f.offset, f.size) in kept)
