# SPDX-License-Identifier: GPL-2.0-only
"""What functions do in a stack trace beside having the bug: report it, find it, or only serve.

A trace names many functions and one of them is guilty: the first that has no role below.  A row is
a file or a family of the kernel's, with its source in v6.12 where nothing else is said, and the
patterns match whole names, so that a function of mm itself is not taken for a helper because its
name begins like one (tests/evidence/klog/test_roles.py holds them to the functions of mm/*.c).

Most roles are passed over in every report.  Those of :data:`BY_KIND` only where they are not
themselves the suspects: the page allocator is asked who freed a bad page, but an oops inside it
is its own.
"""

from __future__ import annotations

import functools
import re
from dataclasses import dataclass

#: What the compiler hangs on the name of a function, as a pattern.
SUFFIX = r"\.(?:isra|constprop|part|cold|llvm|lto_priv)(?:\.\d+)?"
_SUFFIX = re.compile(SUFFIX + ".*$")


@dataclass(frozen=True)
class FrameRole:
    """A family of functions.

    ``pattern`` is a regular expression over the whole name of a function without the suffixes of
    the compiler (``.isra.0``) and of allocation profiling (``_noprof``, since v6.10).
    """

    name: str
    pattern: str
    source: str


#: Who is never guilty, whatever the report: it is made, or the CPU is led to it, by these.
REPORTING: tuple[FrameRole, ...] = (
    FrameRole(
        "reporter",
        r"_*(?:SCT__)?WARN_trap|_*(?:show|dump)_(?:stack|regs|trace_log_lvl|backtrace|cpu_task"
        r"|state)(?:_\w+)?|sched_show_task|_*warn(?:_\w+)?|warn_slowpath_\w+|report_bug"
        r"|nmi_(?!uaccess)\w+|\w*panic\w*|_*die\w*|oops_(?:begin|end|enter|exit)|make_task_dead"
        r"|do_exit|rcu_dump_\w+|end_report|start_report|report_cfi_failure|check_panic_on_warn"
        r"|dump_header|_*fortify_(?:report|panic)|arch_trigger_\w*backtrace"
        r"|trigger_\w*backtrace\w*|get_taint|walk_stackframe|print_(?:report|address_description"
        r"|tainted|unlock\w*|lock\w*|deadlock\w*|shadow\w*|circular\w*|\w*_bug\w*|\w*stall\w*"
        r"|bad_irq\w*|irq\w*|kernel_ident|track|trailer|object|usage\w*|modules|memory_metadata"
        r"|stack_trace|hex_dump\w*)|\w*imbalance_bug",
        "lib/dump_stack.c, lib/nmi_backtrace.c, kernel/panic.c, arch/*/kernel/dumpstack.c,"
        " kernel/rcu/tree_stall.h, mm/kasan/report.c, kernel/locking/lockdep.c",
    ),
    FrameRole(
        "trap",
        r"handle_bug|handle_exception|call_(?:el1_)?break_hook|\w*bug_handler|\w*brk_handler"
        r"|do_el[01]_\w+|arm64_notify_die|_*do_kernel_fault|do_tag_\w+|do_alignment_fault"
        r"|do_serror|handle_bad_stack|handle_stack_overflow|do_debug_exception|page_fault_oops"
        r"|page_fault|kernelmode_fixup_or_oops|no_context|_*bad_area\w*|do_kern_addr_fault"
        r"|fixup_(?:exception|bug)|do_user_addr_fault|_*do_page_fault|_*exc_\w+|(?:asm"
        r"|xen)_exc_\w+|el[01]\w*|do_mem_abort|do_sea|do_\w*trap|do_undefinstr"
        r"|do_translation_fault|do_bad_area|invalid_op|do_invalid_op|error_entry"
        r"|(?:do_)?general_protection|(?:do_)?int3|(?:do_)?divide_error|do_error\w*"
        r"|die_kernel_fault|do_kern_fault|paranoid_\w+|double_fault",
        "arch/x86/kernel/traps.c, arch/x86/mm/fault.c, arch/x86/entry, arch/arm64/kernel/"
        "{traps,entry-common,debug-monitors}.c, arch/arm64/mm/fault.c",
    ),
    FrameRole(
        "sanitizer",
        r"_*(?:k?[ac]san|khwasan|hwasan|k?msan|tsan|ubsan|kfence|sanitizer)_\w+"
        r"|check_memory_region\w*|check_region_inline|read_word_at_a_time|_*(?:read"
        r"|write)_once_\w*nocheck|handle_overflow|instrument_\w+|_*kmemleak_\w+|_*(?:create|link"
        r"|delete|lookup|find)_object(?:_\w+)?|poison_slab_object|check_(?:slab_allocation"
        r"|page_allocation)|val_to_string",
        "mm/kasan, mm/kfence, mm/kmsan, kernel/kcsan, lib/ubsan.c, mm/kmemleak.c,"
        " include/linux/instrumented.h; check_memory_region() up to v5.12",
    ),
)

#: Who enters the kernel or hands out work.
ENTRY = FrameRole(
    "entry",
    r"do_(?:fast_)?syscall_\w+|el0_svc\w*|_*do_fast_syscall_\w+|do_SYSENTER_32|do_int80\w*"
    r"|do_el0_svc\w*|invoke_syscall\w*|entry_(?:SYSCALL|SYSENTER|INT80|IBPB)\w*|sysenter_\w+"
    r"|ret_from_\w+|kthread|worker_thread|process_(?:one_work|scheduled_works)|x64_sys_call"
    r"|ia32_sys_call|syscall_(?:exit|enter|trace)\w*|ret_fast_syscall|call_timer_fn"
    r"|_*run_timers?\w*|run_timer_softirq|handle_softirqs|_*do_softirq\w*|run_ksoftirqd"
    r"|smpboot_thread_fn|start_secondary|cpu_startup_entry|do_idle|exit_to_user\w*|task_work_run"
    r"|rcu_(?:core|do_batch)\w*|tracesys_\w+|rest_init|_stext|_text"
    r"|_*(?:soft)?irqentry_text_start",
    "arch/*/entry, kernel/{fork,kthread,workqueue,softirq,entry}*, kernel/time/timer.c",
)

#: Who only serves the guilty one.
SERVING: tuple[FrameRole, ...] = (
    FrameRole(
        "assert",
        r"refcount_warn_saturate|__list_(?:add|del)\w*_(?:or_report|valid\w*)|usercopy_(?:abort"
        r"|warn)|_*check_(?:heap_object|object_size)|debug_(?:object|check|print|mutex|spin|rt"
        r"|locks|smp)\w*|check_preemption_\w+|_*page_table_check_\w+|__cfi_\w+"
        r"|__stack_chk_fail\w*|_*phys_addr\w*|_*virt_to_phys\w*|skb_(?:panic|over_panic"
        r"|under_panic)|\w*assertfail|\w*assert_fail|rust_helper_BUG|\w*rust_begin_unwind"
        r"|\w*core9panicking\w*|_*might_(?:fault|sleep|resched|alloc)\w*|_*cant_\w+"
        r"|_*schedule_bug|spin_(?:dump|bug)|rwlock_bug|__this_cpu_preempt_check|__report_bad_irq"
        r"|note_interrupt|_*seqprop_assert|\w+_is_static_object|warn_bogus\w*|fixup_\w+_object"
        r"|ref_tracker\w*|cleanup_srcu_struct",
        "lib/{refcount,list_debug,debugobjects,usercopy,smp_processor_id,fortify}*, mm/usercopy.c,"
        " mm/page_table_check.c, arch/x86/mm/physaddr.c, net/core/skbuff.c, rust/helpers",
    ),
    FrameRole(
        "lockdep",
        r"lockdep_\w+|validate_chain|check_(?:prev\w*|noncircular|deadlock|wait_context|usage\w*"
        r"|irq\w*|flags|redundant|path)|mark_(?:lock\w*|usage|held_locks)|valid_state"
        r"|reacquire_held_locks|_*lock_(?:acquire\w*|release\w*|contended|acquired|is_held\w*"
        r"|set_class|pin_lock|unpin_lock|downgrade)|(?:register|assign|look_up)_lock_\w+|(?:trace"
        r"|lockdep)_(?:hard|soft)irqs?_\w+",
        "kernel/locking/lockdep.c",
    ),
    FrameRole(
        "lock",
        r"_*(?:ww_|rt_|atomic_dec_and_)?mutex_\w+|_*rt_mutex\w*|rtlock_\w+"
        r"|task_blocks_on_rt_mutex|rt_(?:spin|read|write)_\w+|_*raw_(?:spin|read|write)_\w+"
        r"|do_raw_\w+|_*(?:spin|read|write)_(?:try|un)?lock\w*|spin_rq\w*|raw_spin_rq\w*"
        r"|_*(?:native_|pv_|virt_)?queued_\w+|arch_spin_\w+|osq_\w+|owner_on_cpu|_*(?:down"
        r"|up)(?:_(?:read|write|trylock|killable|interruptible|timeout|common)\w*)?|rwsem_\w+"
        r"|ldsem_down_\w+|call_rwsem_\w+|percpu_(?:down|up)_\w+|_*rcu_read_(?:un)?lock\w*"
        r"|rwbase_\w+|_*atomic_dec_and_(?:raw_)?lock\w*|_*local_bh_(?:en|dis)able\w*|_*(?:folio"
        r"|page)_(?:un)?lock|_*(?:un)?lock_page(?:_killable|_or_retry|_async)?"
        r"|_*folio_lock_(?:killable|async|or_retry)",
        "kernel/locking, include/linux/{spinlock,rwlock}*.h, lib/dec_and_lock.c, mm/filemap.c,"
        " drivers/tty/tty_ldsem.c; call_rwsem_*() up to v5.1",
    ),
    FrameRole(
        "wait",
        r"_*schedule(?:_(?:timeout\w*|idle|preempt_disabled|rtlock|hrtimeout\w*|loop))?"
        r"|context_switch|preempt_schedule\w*|_*cond_resched\w*|io_schedule\w*|_*switch_to\w*"
        r"|_*wait_(?:for_(?:completion|common)|on_(?:bit|page|buffer|sync_kiocb|var))\w*"
        r"|wait_for_stable_page|do_wait_for_common|out_of_line_wait_\w+|bit_wait\w*"
        r"|_*folio_wait_\w+|(?:prepare_to|finish)_wait\w*|(?:add|remove)_wait_queue\w*"
        r"|autoremove_wake_function|default_wake_function|_*wake_up\w*(?<!process)"
        r"|complete(?:_all|_with_flags)?|_*synchronize_\w+|_*wait_rcu_gp|rcu_barrier\w*"
        r"|kthread_(?:stop|park)\w*|delay_\w+|_*(?:const_)?u?n?delay|msleep\w*|usleep_range\w*"
        r"|cpu_relax|native_pause|do_nanosleep|smp_call_function_\w+|on_each_cpu\w*"
        r"|_*csd_lock_\w+|generic_exec_single",
        "kernel/sched/{core,wait,wait_bit,completion,swait}.c, kernel/rcu, kernel/smp.c,"
        " kernel/time/{timer,sleep_timeout}.c, arch/x86/lib/delay.c",
    ),
    FrameRole(
        "timer or work item",
        r"(?:_*mod|add|del|try_to_del|_*timer_(?:delete|shutdown|reduce)|sk_stop)_?timer\w*"
        r"|lock_timer_base|_*timer_(?:delete|shutdown)\w*|_*(?:flush|cancel|queue|drain"
        r"|destroy)_(?:delayed_)?work\w*|_*cancel_work\w*|try_to_grab_pending|insert_work"
        r"|start_flush_work|work_grab_pending",
        "kernel/time/timer.c, kernel/workqueue.c",
    ),
    FrameRole(
        "string or copy",
        r"_*(?:mem|str|strn|strl|strs)(?:cpy|set|move|cmp|chr|len|nlen|ncpy|lcpy|scpy|ncmp|str"
        r"|nstr|casecmp)(?:_(?!pages)\w+|\d+)?|_*(?:mem|str)\w*_(?:erms|orig|avx_unaligned)"
        r"|rep_(?:movs|stos)_\w+|_*(?:raw_)?_*copy_(?:to|from)_(?:user|iter)\w*|_*arch_copy_\w+"
        r"|copy_(?:page|folio)_(?:to|from)_iter\w*|_*copy_user_(?:generic|enhanced|nocache|fast"
        r"|handle)\w*|copyin|copyout|copy_mc_\w+|(?:clear|copy)_page(?:_(?:erms|rep|orig|mc))?"
        r"|_*(?:get|put)_user(?:_(?:nocheck_)?(?:\d+|bad|asm\w*))?|_*v?s[cn]*printf"
        r"|k?v?asprintf\w*|kv?asprintf\w*|(?:hex_)?string(?:_nocheck)?|pointer|va_format"
        r"|format_decode|v?printk\w*|_*printk\w*|vprintk_\w+|_*dev_v?(?:info|notice|warn|err"
        r"|alert|crit|emerg|printk)\w*|hex_dump_to_buffer|crc\d\w*|crc_\w+",
        "lib/{string,vsprintf,iov_iter,usercopy,hexdump}.c, lib/crc, arch/*/lib, kernel/printk,"
        " drivers/base/core.c",
    ),
    FrameRole(
        "atomic or bit",
        r"_*(?:arch_|raw_)?atomic(?:64|_long)?_\w+|_*(?:arch_)?_*(?:test_and_)?(?:set|clear"
        r"|change|test)_bit\w*|_*(?:try_)?(?:cmp)?xchg(?:64|_(?:relaxed|acquire|release|local))?"
        r"|_*(?:raw_)?(?:read|write)[bwlq](?:_relaxed)?|(?:io)(?:read|write)\d\w*|logic_(?:in"
        r"|out)\w*",
        "include/linux/atomic, include/asm-generic/{bitops,io}.h, lib/logic_pio.c",
    ),
    FrameRole(
        "list or tree",
        r"_*h?list_(?:add|del|replace|move|splice|bl)\w*|klist_\w+|_*rb_\w+|xas_(?:descend|store"
        r"|next|prev|nomem|create|start|load|find)\w*|_*rhashtable_lookup\w*|ida_(?:free|destroy)",
        "include/linux/{list,klist,rbtree,xarray,rhashtable,idr}.h, lib",
    ),
    FrameRole(
        "reference",
        r"_*refcount_\w+|kref_\w+|_*kobject_\w+|_*(?:get|put)_device|iput(?:_final)?|ihold"
        r"|(?:fast_)?dput|drop_nlink|_*folio_put(?:_\w+)?",
        "include/linux/{refcount,kref,mm}.h, lib/kobject.c, drivers/base/core.c,"
        " fs/{inode,dcache}.c",
    ),
    FrameRole(
        "allocator",
        r"_*(?:kv?|v)(?:m|z|c)alloc(?!_(?:show|dump|info|init|nr|to|size|gfp|update))\w*"
        r"|_*k?v?realloc\w*|_*v?k?memdup\w*|kstrn?dup\w*|strndup_user|_*k?v?free(?:_(?:sensitive"
        r"|rcu\w*|const|bulk|skb\w*|skbmem|large\w*))?|kv?free_\w*skb\w*|kfree_\w*skb\w*"
        r"|_*kmem_cache_(?:alloc|free)\w*|_*slab_(?:alloc|free|post_alloc|pre_alloc|err|fix|bug"
        r"|pad_check|want_init\w*)\w*|allocate_slab|new_slab|do_slab_free"
        r"|_*alloc_(?:frozen_)?pages?(?:_(?:node\w*|nodemask|mpol|vma|current|exact|exact_nid"
        r"|bulk\w*|interleave|internal|preferred_many|slowpath|track))?|_*folio_alloc(?:_(?:node"
        r"|mpol|lru|buffers))?|filemap_alloc_folio|vma_alloc_folio\w*"
        r"|vma_alloc_zeroed_movable_folio|mempool_(?:alloc|free)\w*|kvfree_call_rcu"
        r"|alloc_(?:slab_page|page_interleave)|_*vmalloc(?:_(?:node\w*|user|32\w*|huge\w*"
        r"|area_node|array|node_range))?|_*vmap_alloc\w*|warn_alloc\w*|_{3,}cache_(?:alloc"
        r"|free)\w*|free_(?:to_partial_list|debug_processing|consistency_checks)"
        r"|alloc_(?:debug_processing|consistency_checks)|init_object|check_(?:object|bytes\w*"
        r"|slab|poison_mem)|object_err|_*kernel_(?:un)?poison_pages|deactivate_slab"
        r"|_*unfreeze_partials|_*put_partials|_*alloc_skb\w*|setup_(?:object|page)_debug\w*"
        r"|alloc_single_from_\w+",
        "mm/{slub,slab,slab_common,util,vmalloc,page_alloc,mempolicy,page_poison}.c,"
        " net/core/skbuff.c",
    ),
    FrameRole(
        "driver core",
        r"add_uevent_var|get_device_parent|device_(?:add|del|unregister|destroy|release"
        r"|for_each_child|remove_file|initialize)|devres_release_all|(?:dpm_)?sysfs_remove\w*"
        r"|tty_unregister_device|hwrng_unregister|i2c_del_adapter|__unregister_client"
        r"|usb_(?:kill_urb|kill_anchored_urbs|control_msg\w*|submit_urb|hcd_submit_urb"
        r"|start_wait_urb|bulk_msg|interrupt_msg)|dummy_urb_enqueue|rollback_registered\w*"
        r"|unregister_netdev\w*|usb_hcd_\w+",
        "drivers/base, drivers/usb/core, net/core/dev.c: asked by a driver to come or go",
    ),
    FrameRole(
        "thunk",
        r"_*x86_\w*thunk\w*|_*x86_return_\w+|retbleed_\w+|srso_\w+",
        "arch/x86/lib/retpoline.S",
    ),
    FrameRole(
        "stack walk or trace point",
        r"stack_trace_(?:consume_entry|save\w*)|arch_stack_walk\w*|perf_trace_\w+|_*traceiter_\w+"
        r"|trace_event_raw_event_\w+|ftrace_\w+call\w*",
        "kernel/stacktrace.c, include/trace",
    ),
    FrameRole(
        "interrupt",
        r"rcu_(?:sched_clock_irq|pending|exp_\w+|check_callbacks|check_gp_\w+|print_\w+)"
        r"|check_cpu_stall|update_process_times|tick_(?:sched|nohz|periodic|handle_periodic|do"
        r"|irq|broadcast|program|setup)\w*|_*hrtimer_(?:interrupt|run_queues)"
        r"|_*hrtimer_run_queues|_*(?:smp_)?(?:asm_)?(?:sysvec_)?(?:apic_timer|call_function\w*"
        r"|reschedule|irq_work|reboot|thermal)_interrupt|_*sysvec_\w+|(?:asm_)?sysvec_\w+"
        r"|instr_sysvec_\w+|_*handle_irq\w*|handle_(?:percpu|fasteoi|edge|level)\w*_irq"
        r"|generic_handle_\w+|gic_\w+|call_on_irq_stack|do_interrupt_handler"
        r"|(?:asm_)?common_interrupt|ret_from_intr|retint_\w+|irqentry_\w+|arch_timer_\w+"
        r"|handle_percpu_\w+|_*handle_domain_irq|irq_exit\w*|(?:local|smp)_apic_\w*|_*irq_svc"
        r"|watchdog(?:_\w+)?|lockup_detector_\w+|check_hung_\w+|run_rebalance_domains"
        r"|sched_balance_\w+|reset_interrupt",
        "arch/x86/kernel/{irq,apic}, arch/arm64/kernel/entry*, kernel/irq,"
        "kernel/time/{tick*,hrtimer}.c, kernel/rcu/tree.c, kernel/{watchdog,hung_task}.c;"
        " smp_apic_timer_interrupt() up to v5.7",
    ),
)

#: Who calls what may be anybody's, by a pointer: the frame above it says whose.
DISPATCH = FrameRole(
    "dispatch",
    r"(?:vfs|new_sync|do_iter|vfs_iter|call)_(?:read|write)(?:v|_iter|v_writev)?|_*vfs_(?:read"
    r"|write)|(?:do_)?vfs_ioctl|ksys_ioctl|do_iter_readv_writev|call_mmap|_*mmap_region|do_mmap"
    r"|sock_mmap|(?:compat_)?(?:blkdev|sock|sock_do)_(?:driver_)?ioctl|do_dentry_open|vfs_open"
    r"|_*fput|_*(?:x64|ia32|arm64|se|do)?_*(?:compat_)?(?:sys|SYSC|SyS)_(?:ioctl|connect"
    r"|socketpair|listen|accept4?|setsockopt)|sock_(?:send|recv)msg\w*|_*sock_release"
    r"|sk_common_release|kernel_(?:setsockopt|listen|accept)|sock_common_setsockopt|(?:nf"
    r"|rt)netlink_rcv_msg|netlink_dump|_*netif_receive_skb\w*|_*do_fault|_*do_page_fault"
    r"|page_fault|tasklet_(?:hi_)?action\w*|_*hrtimer_run_queues|full_proxy_\w+|direct_entry"
    r"|lkdtm_do_action",
    "fs/{read_write,ioctl,open,file_table}.c, fs/debugfs/file.c, net/{socket.c,core,netlink},"
    " mm/{mmap,memory}.c, kernel/softirq.c, kernel/time/hrtimer.c, drivers/misc/lkdtm/core.c",
)

_PAGE_FREEING = FrameRole(
    "page freeing",
    r"_*free_(?:unref|frozen|one|pcppages|tail|pages?)\w*(?<!page_range)|free_(?:pages|page)_\w+"
    r"|release_pages|folios_put\w*|_*put_page\w*|free_pages_and_swap_cache"
    r"|free_page_and_swap_cache|free_folio_and_swap_cache|_*tlb_batch_\w+|tlb_(?:finish"
    r"|flush)_mmu\w*|tlb_remove_\w+|pte_alloc_one\w*|page_frag_free|_*folio_batch_release"
    r"|_*pagevec_release",
    "mm/{page_alloc,swap,swap_state}.c",
)
_PAGE_TAKING = FrameRole(
    "page taking",
    r"get_page_from_freelist|prep_new_page|post_alloc_hook|_*rmqueue\w*|check_new_page\w*",
    "mm/page_alloc.c",
)
_PAGE_CHECK = FrameRole(
    "page check",
    r"bad_page\w*|free_page_is_bad\w*|_*dump_(?:page|folio)\w*|print_bad_(?:pte|page_map)"
    r"|vm_normal_\w+|check_new_page\w*|unaccount_page_cache_folio|page_expected_state",
    "mm/{page_alloc,memory,debug,filemap}.c",
)
_OOM = FrameRole(
    "oom", r"oom_kill_process|out_of_memory|_*mem_cgroup_out_of_memory", "mm/oom_kill.c"
)
_OBJECT_USER = FrameRole(
    "user of debug objects",
    r"debug_\w+|\w*rcu\w*|hrtimer_\w+|timer_\w+|\w*work_\w+|percpu_\w+|vunmap\w*|vfree\w*"
    r"|__free_\w+",
    "lib/debugobjects.c asks on behalf of timers, work items, RCU heads, percpu counters and slabs",
)
_PREEMPTION = FrameRole(
    "this CPU", r"\w*preempt\w*|\w*processor_id|\w*this_cpu\w*|debug_\w+", "lib/smp_processor_id.c"
)
_PROC = FrameRole("proc entry", r"_*proc_\w+", "fs/proc/generic.c: asked to register or remove")
_RCU = FrameRole("RCU", r"\w*rcu\w*|kmem_\w+|slab_\w+", "kernel/rcu")
_KEY = FrameRole("lock initialisation", r"\w*(?:stack|lock|irq|IRQ)\w*", "kernel/locking")
_WAITING = FrameRole(
    "waiting",
    r"(?!rtnl_)\w+_lock(?:_(?:nested|killable|interruptible|common|read|write|slow\w*))?"
    r"|\w*_slowlock\w*|wait_\w+|\w+_wait_(?:for|on|event|bit)\w*|\w+_lock_sock\w*|lock_sock\w*"
    r"|mmap_(?:read|write)_lock\w*|_*vma_start_(?:read|write)\w*|reclaim_throttle|congestion_wait"
    r"|balance_dirty_pages\w*|lru_add_drain_all|drain_all_pages|_*mmu_notifier_invalidate\w*"
    r"|\w*rwsem\w*|\w*completion\w*|\w*sched\w*|\w*synchronize\w*",
    "kernel/hung_task.c: the task waits for what another has, whatever the wait is called",
)
_ALLOCATION = FrameRole(
    "allocation",
    r"\w*alloc(?:_\w+)?|\w*kmem\w*|\w*slab\w*|(?:vm_|do_|ksys_)?mmap(?:_\w+)?|idr_get\w*"
    r"|list_lru_init\w*|pcpu_create\w*|\w*dup(?:_\w+)?(?<!dup_mmap)(?<!dup_mm)",
    "mm/kmemleak.c: a leak is of who asked, not of who allocated",
)
_CIPHER = FrameRole(
    "cipher",
    r"\w+_(?:en|de)crypt(?:_\w+)?|(?:crypto|cipher|drbg|rng)_\w+",
    "crypto/: who computes on what is not initialised did not leave it so",
)
_SKB = FrameRole("packet", r"skb_\w+|_*netlink_(?:ack|rcv_skb)", "net/core/skbuff.c")

#: Roles that are passed over in reports of one kind alone.
BY_KIND: dict[str, tuple[FrameRole, ...]] = {
    "bad-page-state": (_PAGE_FREEING, _PAGE_TAKING, _PAGE_CHECK),
    "bad-page-map": (_PAGE_CHECK,),
    "bad-page-cache": (_PAGE_CHECK,),
    "page-poison": (_PAGE_FREEING, _PAGE_TAKING, _PAGE_CHECK),
    "alloc-failure": (_PAGE_TAKING, _OOM),
    "oom": (_PAGE_TAKING, _OOM),
    "odebug": (_OBJECT_USER, _PAGE_FREEING),
    "preemptible": (_PREEMPTION,),
    "proc": (_PROC,),
    "hung-task": (_WAITING,),
    "memory-leak": (_ALLOCATION,),
    "kernel-bug": (_SKB,),
    "kmsan": (_SKB, _CIPHER),
    "rcu-usage": (_RCU,),
    "lock-key": (_KEY,),
}


def plain_function(name: str) -> str:
    """A function's name as the source has it: without what the compiler hung on (``.isra.0``,
    ``.cold``), and allocation profiling (``_noprof``, since v6.10)."""
    return _SUFFIX.sub("", name.removeprefix("__pfx_")).removesuffix("_noprof")


def _compiled(*roles: FrameRole) -> tuple[re.Pattern[str], ...]:
    """One pattern a role: all in one would cost a megabyte while it is made."""
    return tuple(re.compile(role.pattern) for role in roles)


_ALWAYS = _compiled(*REPORTING, *SERVING)
_ENTRY = _compiled(ENTRY)
_HANDS_OUT = _compiled(ENTRY, DISPATCH)
_IN_KIND = {kind: _compiled(*roles) for kind, roles in BY_KIND.items()}


@functools.lru_cache(maxsize=2048)
def _has_role(plain: str, kind: str, stood: bool) -> bool:
    rows = (*_ALWAYS, *(() if stood else _ENTRY), *_IN_KIND.get(kind, ()))
    return any(row.fullmatch(plain) for row in rows)


def passed_over(name: str, kind: str = "", *, stood: bool = False) -> bool:
    """Whether a function of this name has a role in reports of ``kind``: it is not guilty.

    :param stood: the CPU surely stood in it.  Who hands out work is passed over as a caller, but
        where it stumbles itself, the work that it was to hand out is broken, and nobody else told.
    """
    return _has_role(plain_function(name), kind, stood)


def hands_out(name: str) -> bool:
    """Whether a function calls what may be anybody's: system calls, callbacks, work, timers."""
    plain = plain_function(name)
    return any(row.fullmatch(plain) for row in _HANDS_OUT)
