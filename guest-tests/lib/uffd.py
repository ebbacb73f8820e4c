# SPDX-License-Identifier: GPL-2.0-only
"""userfaultfd and page tables through ctypes and fcntl, for the Python workloads.

The numbers are those of ``uffd_abi.h`` beside this file: include/uapi/linux/userfaultfd.h of v6.12,
the same for the move ioctl of the series of 2023.
"""

import ctypes
import errno
import fcntl
import mmap
import os

PAGE = mmap.PAGESIZE
ADVICE_NO_HUGE = 15  # MADV_NOHUGEPAGE; EINVAL where THP is compiled out

# System call numbers of userfaultfd(2) by machine.
SYS_USERFAULTFD = {"x86_64": 323, "aarch64": 282}

UFFD_API = 0xAA
FEATURE_SIGBUS = 1 << 7
FEATURE_MOVE = 1 << 16
MODE_MISSING = 1 << 0
NR_COPY = 0x03
NR_MOVE = 0x05


class Api(ctypes.Structure):
    """struct uffdio_api."""

    _fields_ = (
        ("api", ctypes.c_uint64),
        ("features", ctypes.c_uint64),
        ("ioctls", ctypes.c_uint64),
    )


class Register(ctypes.Structure):
    """struct uffdio_register."""

    _fields_ = (
        ("start", ctypes.c_uint64),
        ("len", ctypes.c_uint64),
        ("mode", ctypes.c_uint64),
        ("ioctls", ctypes.c_uint64),
    )


class Transfer(ctypes.Structure):
    """struct uffdio_copy and struct uffdio_move: ``done`` is written by the kernel."""

    _fields_ = (
        ("dst", ctypes.c_uint64),
        ("src", ctypes.c_uint64),
        ("len", ctypes.c_uint64),
        ("mode", ctypes.c_uint64),
        ("done", ctypes.c_int64),
    )


def _iowr(number, structure):
    return 3 << 30 | ctypes.sizeof(structure) << 16 | UFFD_API << 8 | number


UFFDIO_API = _iowr(0x3F, Api)
UFFDIO_REGISTER = _iowr(0x00, Register)
UFFDIO_COPY = _iowr(NR_COPY, Transfer)
UFFDIO_MOVE = _iowr(NR_MOVE, Transfer)


class Region:
    """A private anonymous mapping on base pages; ``address`` is its start, ``len`` its bytes."""

    def __init__(self, pages):
        self.len = pages * PAGE
        self.map = mmap.mmap(-1, self.len, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        self.address = ctypes.addressof(ctypes.c_char.from_buffer(self.map))
        try:  # noqa: SIM105 - contextlib is one more import to pay for
            self.map.madvise(ADVICE_NO_HUGE)
        except OSError:
            pass

    def drop(self, first, count):
        """Free ``count`` pages from page ``first`` on with MADV_DONTNEED."""
        self.map.madvise(mmap.MADV_DONTNEED, first * PAGE, count * PAGE)

    def entries(self):
        """The pagemap entries of all its pages: present in bit 63, swapped in 62, PFN below 55."""
        fd = os.open("/proc/self/pagemap", os.O_RDONLY | os.O_CLOEXEC)
        data = os.pread(fd, self.len // PAGE * 8, self.address // PAGE * 8)
        os.close(fd)
        return memoryview(data).cast("Q").tolist()


def open_userfaultfd(features=0):
    """A userfaultfd and what the handshake answered: ``(fd, features)``; OSError if there is none.

    Faults on missing pages raise SIGBUS where ``features`` has FEATURE_SIGBUS: a workload that
    nobody serves must not hang.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    machine = os.uname().machine
    if machine not in SYS_USERFAULTFD:
        raise OSError(errno.ENOSYS, f"userfaultfd's number on {machine} is unknown here")
    flags = os.O_CLOEXEC | os.O_NONBLOCK
    fd = libc.syscall(ctypes.c_long(SYS_USERFAULTFD[machine]), ctypes.c_int(flags))
    if fd < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
    api = Api(api=UFFD_API, features=features)
    fcntl.ioctl(fd, UFFDIO_API, api)
    return fd, api.features


def register(fd, region):
    """Register a region for missing faults and return the mask of ioctls it allows."""
    request = Register(start=region.address, len=region.len, mode=MODE_MISSING)
    fcntl.ioctl(fd, UFFDIO_REGISTER, request)
    return request.ioctls


def transfer(fd, ioctl, dst, src, length):
    """Copy or move ``length`` bytes, going on after EAGAIN; OSError carries any other errno.

    EAGAIN with a positive count means progress: the call goes on behind it and meets the real
    errno if there is one.
    """
    while length:
        request = Transfer(dst=dst, src=src, len=length)
        try:
            fcntl.ioctl(fd, ioctl, request)
        except OSError as error:
            if error.errno != errno.EAGAIN:
                raise
        done = max(request.done, 0)
        dst, src, length = dst + done, src + done, length - done


def why_no_move():
    """Why this kernel cannot move pages, as a skip reason, or None where it can.

    Read from the ioctls mask that UFFDIO_REGISTER returns: the feature bit exists in mainline only.
    """
    try:
        fd, features = open_userfaultfd()
    except OSError as error:
        name = errno.errorcode.get(error.errno or 0, str(error.errno))
        off = " (CONFIG_USERFAULTFD is off)" if error.errno == errno.ENOSYS else ""
        return f"no userfaultfd: {name}{off}"
    mask = register(fd, Region(1))
    os.close(fd)
    if mask >> NR_MOVE & 1:
        return None
    return f"no move ioctl (features {features:#x}, register ioctls {mask:#x})"
