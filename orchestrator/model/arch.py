# SPDX-License-Identifier: GPL-2.0-only
"""The architectures: one row each, as data.  Nothing else compares an architecture's name.

A new architecture is a row here, a fragment ``kernel-configs/NAME.config`` and a line in the docs.
"""

from __future__ import annotations

import platform
from dataclasses import dataclass


@dataclass(frozen=True)
class Arch:
    """What the kernel, root and guest stages need to know about one architecture.

    ``kernel_arch`` is make's ``ARCH=``; ``image_target`` the make target and ``image`` its product
    below the build folder; ``cross`` the compiler's prefix, empty where the host's own compiles for
    it; ``debian`` the distribution's name.  ``qemu`` is the program, ``machine`` its ``-machine``
    under TCG and ``machine_kvm`` under KVM, ``cpu_tcg`` the ``-cpu`` of emulated guests, ``virtio``
    what device names end with (``virtio-blk-pci``); where ``reversed_slots``, Linux numbers virtio
    devices from the last one on.  ``kvm_hosts`` are the machines (uname -m) whose KVM can run it.
    ``console`` is the kernel's name of the serial line; ``boot_args`` come to every boot;
    ``numa_boot_args`` have the kernel itself split the memory into ``{nodes}`` nodes, without them
    QEMU does.  ``tcg_note`` goes into reports of emulated guests.  ``pc``, ``sp`` and ``fp`` are
    what QEMU's ``info registers`` calls the program counter, the stack pointer and the frame
    pointer; ``elf_machine`` is the e_machine of its ELF files (elf(5)).  ``gcov_flags`` are the
    compiler's for files that count what of them runs.  ``narrow``: its compiler makes 32-bit
    programs that its kernel runs, given the libraries for them (``-m32``).
    """

    name: str
    kernel_arch: str
    cross: str
    image_target: str
    image: str
    debian: str
    qemu: str
    machine: str
    machine_kvm: str
    cpu_tcg: str
    console: str
    virtio: str
    reversed_slots: bool
    kvm_hosts: tuple[str, ...]
    pc: str
    sp: str
    fp: str
    elf_machine: int
    boot_args: tuple[str, ...] = ()
    numa_boot_args: tuple[str, ...] = ()
    gcov_flags: tuple[str, ...] = ()
    tcg_note: str = ""
    narrow: bool = False

    @property
    def srcarch(self) -> str:
        """Its folder below ``arch/`` in the kernel's sources, Kbuild's ``SRCARCH``."""
        return self.image.split("/")[1]

    @property
    def gcc(self) -> str:
        """The compiler that builds kernels and C workloads for this architecture."""
        return f"{self.cross}gcc"


#: Other names of the architectures: those of Debian and of uname(1).
ALIASES = {"amd64": "x86_64", "aarch64": "arm64"}

ARCHES: dict[str, Arch] = {
    "x86_64": Arch(
        name="x86_64",
        narrow=True,
        kernel_arch="x86_64",
        cross="" if platform.machine() == "x86_64" else "x86_64-linux-gnu-",
        image_target="bzImage",
        image="arch/x86/boot/bzImage",
        debian="amd64",
        qemu="qemu-system-x86_64",
        # i440fx and not microvm: TCG needs the ACPI PM timer for a clock finer than jiffies.
        machine="pc",
        machine_kvm="pc",
        # TCG carries `rep stosb` and `rep movsb` out a byte at a time.  Without these two flags the
        # kernel clears and copies pages in words (arch/x86/lib/{clear_page,copy_user}_64.S of
        # 6.12): a half to a third of the time.
        cpu_tcg="max,-erms,-fsrm",
        console="ttyS0",
        virtio="pci",
        reversed_slots=False,
        kvm_hosts=("x86_64",),
        pc="RIP",
        sp="RSP",
        fp="RBP",
        elf_machine=62,
        # The kernel waits a few ticks for its timer's interrupt and else panics (check_timer() in
        # arch/x86/kernel/apic/io_apic.c): on a busy host an emulated CPU may not see one in time.
        boot_args=("no_timer_check",),
        numa_boot_args=("numa=fake={nodes}",),
    ),
    "arm64": Arch(
        name="arm64",
        kernel_arch="arm64",
        cross="" if platform.machine() == "aarch64" else "aarch64-linux-gnu-",
        image_target="Image",
        image="arch/arm64/boot/Image",
        debian="arm64",
        qemu="qemu-system-aarch64",
        machine="virt,gic-version=3",
        machine_kvm="virt,gic-version=host",
        # Pointer authentication with the architected algorithm is very slow under TCG.
        cpu_tcg="max,pauth-impdef=on",
        console="ttyAMA0",
        virtio="device",
        # virt hands out its virtio-mmio slots from the top, Linux numbers them from the bottom.
        reversed_slots=True,
        kvm_hosts=("aarch64",),
        pc="PC",
        sp="SP",
        fp="X29",
        elf_machine=183,
        # Else gcc 12 calls libgcc for an atomic count (AArch64 options), which no kernel has.
        gcov_flags=("-mno-outline-atomics",),
        tcg_note="TCG keeps the host's stronger memory order: weak-ordering bugs cannot show",
    ),
}

#: The architecture of this machine; empty where it is none of these.
HOST_ARCH = next((name for name, arch in ARCHES.items() if not arch.cross), "")
