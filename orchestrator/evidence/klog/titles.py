# SPDX-License-Identifier: GPL-2.0-only
"""Stack frames, the function to blame, titles and signatures of kernel-log reports."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Iterator

MAX_TITLE = 200

TRACE = re.compile(r"\s*Call [Tt]race:")
FRAME = re.compile(
    r"(?:(?:kmemleak:)?\s+|\s*\[<[0-9a-fx]+>\] ?)(?P<guess>\? )?(?P<func>[A-Za-z_.$][\w.$]*)"
    r"\+0x[0-9a-f]+/0x[0-9a-f]+"
)
# Without CONFIG_KALLSYMS a frame is a bare address.
BARE_FRAME = re.compile(r"\s+(?:\? )?0x[0-9a-f]{8,16}\s*$|\s*\[<[0-9a-fx]{8,18}>\]\s*$")
# Selector 0010 is the kernel's code segment on x86-64 (arch/x86/include/asm/segment.h); 0033 is
# user space's.  arm64 prints "pc : ".
_WHERE = re.compile(r"(?:RIP: 0010:|pc : )(?P<func>[A-Za-z_.$][\w.$]*)\+0x")
# A jump out of the kernel text, or into assembly without a frame: the caller is lr, or the first
# frame, which the unwinder then only guesses.
_FRAMELESS = re.compile(
    r"_*mem(?:cpy|set|move)\w*|(?:clear|copy)_page\w*|rep_(?:movs|stos)_\w+|_*(?:get|put)_user_\w+"
    r"|_*copy_user_\w+"
)
_ASTRAY = re.compile(r"(?:RIP: 0010:|pc : )(?:0x)?[0-9a-f]{1,16}(?:\s|$)")
_LINK = re.compile(r"lr : (?P<func>[A-Za-z_.$][\w.$]*)\+0x")

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
_SUFFIXES = re.compile(r"(?:\.(?:isra|constprop|part|cold|llvm|lto_priv)(?:\.\d+)?)+\b")

_LINE_NUMBER = re.compile(r"(\.[a-zA-Z]{1,3}):\d+(?::\d+)?")
_OFFSET = re.compile(r"\+0x[0-9a-f]+(?:/0x[0-9a-f]+)?")
_HEX = re.compile(r"(?<!exitcode=)\b(?:0x[0-9a-fA-F]{5,}|(?=[0-9a-f]*\d)[0-9a-f]{8,16})\b")
_CPU = re.compile(r"\b(?:CPU ?#?|cpu[ =:]?#?)\d+\b")
_TASK = re.compile(r" ?\[[^\[\]]{1,40}:\d+\]|\b[\w./-]{1,40}/\d+(?:/0x[0-9a-f]+)?(?=\s|$)")
_PID = re.compile(r"\b([Pp][Ii][Dd])([ :=]{1,2})\d+\b")
_NUMBER = re.compile(r"(?<![\w.#:])-?\d+(?![\w.]|-bit)")
_QUOTED = re.compile(r"\"[^\"]{0,200}\"|'[^']{0,200}'|`[^']{0,200}'")
# print_lock() in kernel/locking/lockdep.c: "ADDRESS (NAME){usage}-{4:4}, at: ..."; not those that
# are only held ("#0: ..."), which differ from one way into the function to the next.
_LOCK = re.compile(r"\s{0,8}(?:[0-9a-f]{8,16}|\[<[0-9a-f]{8,16}>\])? ?\((?P<name>.{1,120}?)\)\{")
_SOURCE = re.compile(
    r"^(?:.*?/)??(?=(?:arch|block|certs|crypto|drivers|fs|include|init|io_uring|ipc|kernel|lib|mm|net"
    r"|rust|samples|security|sound|tools|virt)/)"
)


def plain_function(name: str) -> str:
    """A function's name without what the compiler hung on (``.isra.0``, ``.cold``)."""
    return _SUFFIX.sub("", name.removeprefix("__pfx_"))


def tells_where(text: str) -> bool:
    """Whether a line names the function in which the CPU stood."""
    return _WHERE.match(text) is not None


def is_generic(name: str) -> bool:
    """Whether a frame of this name is never the one to blame."""
    return _GENERIC.fullmatch(plain_function(name)) is not None


def is_frame(text: str) -> bool:
    """Whether a line is a stack frame."""
    return FRAME.match(text) is not None or BARE_FRAME.match(text) is not None


def guilty(lines: Iterable[str], first: str = "") -> str:
    """The function to blame for a report, or an empty string.

    :param lines: the report's lines.
    :param first: the function that the header names; it wins unless it is generic.

    Looked at in order: the header, where the CPU stood (RIP, pc), the frames of the traces.  Frames
    that the unwinder only guesses (``? name``) do not count, nor what stands before a report's
    ``Call Trace:`` (page_owner and lockdep print older traces there).
    """
    for name in _candidates(list(lines), first):
        if name and not is_generic(name):
            return plain_function(name)
    return ""


def _candidates(lines: list[str], first: str) -> Iterator[str]:
    yield first
    trace = next((i for i, text in enumerate(lines) if TRACE.match(text)), None)
    astray = False
    for text in lines[:trace]:
        if match := _WHERE.match(text):
            yield match["func"]
            astray = _FRAMELESS.fullmatch(plain_function(match["func"])) is not None
        elif _ASTRAY.match(text):
            astray = True
        elif astray and (match := _LINK.match(text)):
            yield match["func"]
    for text in lines[trace or 0 :]:
        if (match := FRAME.match(text)) and (astray or not match["guess"]):
            yield match["func"]
            astray = False


def source_path(path: str) -> str:
    """A source file's path from the top of the tree, wherever it was built."""
    return _SOURCE.sub("", path, count=1).removeprefix("./")


def neutral(text: str) -> str:
    """``text`` with addresses, offsets, CPUs, tasks and numbers replaced by placeholders."""
    text = _SUFFIXES.sub("", _OFFSET.sub("", text[:1000]))
    text = _TASK.sub(" TASK", text) if "/" in text or ":" in text else text
    text = _PID.sub(r"\1\2N", text)
    text = _CPU.sub("CPU", text)
    text = _HEX.sub("ADDR", text)
    text = _NUMBER.sub("N", text)
    return " ".join(text.split())[:MAX_TITLE].strip()


def skeleton(text: str) -> str:
    """What stays of a message however often it is printed: no numbers, names in quotes, paths."""
    words = neutral(_QUOTED.sub("", text)).split()
    return " ".join(w for w in words if not any(c.isdigit() or c == "/" for c in w))[:120]


def lock_classes(lines: Iterable[str]) -> tuple[str, ...]:
    """The first two locks that a lockdep report names, sorted: a cycle has no first lock."""
    names: list[str] = []
    for text in lines:
        if match := _LOCK.match(text):
            name = re.sub(r"#\d+", "", match["name"])
            names += [name] * (name not in names)
            if len(names) == 2:
                break
    return tuple(sorted(names))


def signature(kind: str, title: str, function: str, more: Iterable[str] = ()) -> str:
    """A stable name for a report: 16 hex digits over kind, neutral title and blamed function.

    :param more: what else tells two bugs of one function apart, where the report has it: the words
        of a WARN(), the classes of two locks.

    Source line numbers are left out, so that an unrelated change above keeps the signature.  So two
    WARN_ON() of one function share one: nothing in the log but the line tells them apart.
    """
    text = _LINE_NUMBER.sub(r"\1", title)
    data = "\0".join((kind, text, function, *more)).encode("utf-8", "replace")
    return hashlib.sha256(data).hexdigest()[:16]
