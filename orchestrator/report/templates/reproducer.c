// SPDX-License-Identifier: GPL-2.0-only
/*
 * Pieces of the files that orchestrator/report/reproducer.py makes of finds, in the order in which they stand
 * there; what is between @ is filled in.  A line of //: names the piece that follows.
 */
//: head
#define MYSELF 4
#define at(n) ((char *)0x100000 + (n) * page)
#define spot(n, quarter) (at(n) + (quarter) * (page / 4))
#define ERR(call) ((call) == -1 ? errno : 0)
static size_t page;
static pid_t pid[5]; /* of the program's processes, and of who looks */
static void unsure(const char *why)
{
	printf("cannot tell: %s\n", why);
	exit(4);
}
static const char *name(int err) /* 1000 and more: of a signal */
{
	return err >= 1000 ? strsignal(err - 1000) : err ? strerror(err) : "success";
}
static void came(int step, int got, int before)
{
	if (got == before)
		return;
	printf("step %d came to: %s; when it was found: %s\n", step, name(got), name(before));
	unsure("a step before the one in question");
}
static void late(int signal)
{
	(void)signal;
	_exit(4);
}
//: MADV_COLD
#ifndef MADV_COLD
#define MADV_COLD 20
#endif
//: MADV_PAGEOUT
#ifndef MADV_PAGEOUT
#define MADV_PAGEOUT 21
#endif
//: MADV_POPULATE_READ
#ifndef MADV_POPULATE_READ
#define MADV_POPULATE_READ 22
#endif
//: MADV_POPULATE_WRITE
#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23
#endif
//: MADV_COLLAPSE
#ifndef MADV_COLLAPSE
#define MADV_COLLAPSE 25
#endif
//: MADV_GUARD_INSTALL
#ifndef MADV_GUARD_INSTALL /* since v6.13 */
#define MADV_GUARD_INSTALL 102
#endif
//: MADV_GUARD_REMOVE
#ifndef MADV_GUARD_REMOVE
#define MADV_GUARD_REMOVE 103
#endif
//: value
static int value;
//: done
static int done;
//: uffd
#ifndef UFFD_FEATURE_WP_UNPOPULATED
#define UFFD_FEATURE_WP_UNPOPULATED (1 << 13)
#endif
static int uffd = -1;
static int open_uffd(uint64_t more)
{
	struct uffdio_api api = { .api = UFFD_API, .features = UFFD_FEATURE_SIGBUS | more | @FEATURES@ };

	uffd = (int)syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK);
	return uffd < 0 ? errno : ERR(ioctl(uffd, UFFDIO_API, &api));
}
//: close
static int close_uffd(void)
{
	int err = ERR(close(uffd));

	uffd = -1;
	return err;
}
//: copy
static int copy(int a, int n, int byte, uint64_t mode)
{
	struct uffdio_copy copy = { .dst = (uintptr_t)at(a), .len = n * page, .mode = mode };
	void *source = mmap(NULL, n * page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	int err;

	copy.src = (uintptr_t)memset(source, byte, n * page);
	err = ERR(ioctl(uffd, UFFDIO_COPY, &copy));
	done = copy.copy > 0 ? (int)(copy.copy / (long)page) : 0;
	munmap(source, n * page);
	return err;
}
//: zeropage
static int zeropage(int a, int n)
{
	struct uffdio_zeropage zero = { .range = { (uintptr_t)at(a), n * page } };
	int err = ERR(ioctl(uffd, UFFDIO_ZEROPAGE, &zero));

	done = zero.zeropage > 0 ? (int)(zero.zeropage / (long)page) : 0;
	return err;
}
//: move
#ifndef UFFDIO_MOVE /* since v6.8 */
struct uffdio_move { uint64_t dst, src, len, mode; int64_t move; };
#define UFFDIO_MOVE _IOWR(0xAA, 0x05, struct uffdio_move)
#define UFFDIO_MOVE_MODE_ALLOW_SRC_HOLES (1 << 1)
#endif
static int move(int a, int n, int to, uint64_t mode)
{
	struct uffdio_move move = { .dst = (uintptr_t)at(to), .src = (uintptr_t)at(a), .len = n * page, .mode = mode };
	int err = ERR(ioctl(uffd, UFFDIO_MOVE, &move));

	done = move.move > 0 ? (int)(move.move / (long)page) : 0;
	return err;
}
//: poison
#ifndef UFFDIO_POISON /* since v6.6 */
struct uffdio_poison { struct uffdio_range range; uint64_t mode; int64_t updated; };
#define UFFDIO_POISON _IOWR(0xAA, 0x08, struct uffdio_poison)
#endif
static int poison(int a, int n)
{
	struct uffdio_poison poison = { .range = { (uintptr_t)at(a), n * page } };
	int err = ERR(ioctl(uffd, UFFDIO_POISON, &poison));

	done = poison.updated > 0 ? (int)(poison.updated / (long)page) : 0;
	return err;
}
//: continue
static int go_on(int a, int n)
{
	struct uffdio_continue go_on = { .range = { (uintptr_t)at(a), n * page } };
	int err = ERR(ioctl(uffd, UFFDIO_CONTINUE, &go_on));

	done = go_on.mapped > 0 ? (int)(go_on.mapped / (long)page) : 0;
	return err;
}
//: files
static int memfd[2];
static void make_files(void) /* of 12 and 5 pages; 8 of the first have been written to, with zeros */
{
	char *zeros = mmap(NULL, 8 * page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	memfd[0] = memfd_create("explore-a", 0);
	memfd[1] = memfd_create("explore-b", 0);
	if (ftruncate(memfd[0], 12 * page) || ftruncate(memfd[1], 5 * page) ||
	    pwrite(memfd[0], zeros, 8 * page, 0) != 8 * (long)page)
		unsure("no memfd");
	munmap(zeros, 8 * page);
}
//: file-write
static int file_write(int file, int from, int byte)
{
	void *source = mmap(NULL, page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	ssize_t got = pwrite(memfd[file], memset(source, byte, page), page, from * page);
	int err = got < 0 ? errno : got == (ssize_t)page ? 0 : EXDEV;

	munmap(source, page);
	return err;
}
//: file-read
static int file_read(int file, int from, int quarter)
{
	unsigned char byte = 0;
	ssize_t got = pread(memfd[file], &byte, 1, from * page + quarter * (page / 4));

	value = byte;
	return got < 0 ? errno : got ? 0 : ENODATA;
}
//: vm-read
static int read_of(int proc, int n, int quarter)
{
	unsigned char byte = 0;
	struct iovec mine = { &byte, 1 }, theirs = { spot(n, quarter), 1 };
	int err = ERR(process_vm_readv(pid[proc], &mine, 1, &theirs, 1, 0));

	value = byte;
	return err;
}
//: vm-write
static int write_to(int proc, int n, int byte)
{
	void *source = mmap(NULL, page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	struct iovec mine = { memset(source, byte, page), page }, theirs = { at(n), page };
	ssize_t got = process_vm_writev(pid[proc], &mine, 1, &theirs, 1, 0);
	int err = got < 0 ? errno : got == (ssize_t)page ? 0 : EXDEV;

	munmap(source, page);
	return err;
}
//: process-madvise
static int advise_other(int proc, int n, int pages, int advice)
{
	struct iovec range = { at(n), pages * page };
	int fd = (int)syscall(434 /* pidfd_open */, pid[proc], 0), err;
	long got;

	if (fd < 0)
		return errno;
	got = syscall(440 /* process_madvise */, fd, &range, 1, advice, 0);
	err = got < 0 ? errno : got == (long)range.iov_len ? 0 : EXDEV;
	close(fd);
	return err;
}
//: pagemap-scan
/* ioctl(PAGEMAP_SCAN) of linux/fs.h, since v6.7. */
struct scan { uint64_t size, flags, start, end, walk_end, vec, vec_len, max_pages, inverted, mask, anyof, result; };
struct region { uint64_t start, end, categories; };
static int scan(int n, int pages, int protect)
{
	static struct region regions[32];
	struct scan scan = { .size = sizeof(scan), .start = (uintptr_t)at(n), .end = (uintptr_t)at(n + pages) };
	int fd = open("/proc/self/pagemap", O_RDONLY), err;

	scan.flags = protect; /* PM_SCAN_WP_MATCHING */
	scan.vec = protect ? 0 : (uintptr_t)regions;
	scan.vec_len = protect ? 0 : 32;
	scan.result = protect ? 0 : 0xff;
	err = ioctl(fd, _IOWR('f', 16, struct scan), &scan) < 0 ? errno : scan.walk_end != scan.end ? EXDEV : 0;
	close(fd);
	return err;
}
//: ring
static int ring = -1; /* an io_uring for its fixed buffers alone */
//: pin
static int pin(int n, int pages)
{
	struct iovec buffer = { at(n), pages * page };
	char params[120] = { 0 }; /* struct io_uring_params */

	if (ring < 0)
		ring = (int)syscall(425 /* io_uring_setup */, 1, params);
	return ring < 0 ? errno : ERR(syscall(427 /* io_uring_register */, ring, 0 /* buffers */, &buffer, 1));
}
//: unpin
static int unpin(void)
{
	return ERR(syscall(427 /* io_uring_register */, ring, 1 /* no buffers */, NULL, 0));
}
//: pipe
static int pipe_ends[2];
static int open_pipe(void)
{
	return pipe_ends[1] ? 0 : pipe2(pipe_ends, O_NONBLOCK);
}
static void close_pipe(void)
{
	if (pipe_ends[1]) {
		close(pipe_ends[0]);
		close(pipe_ends[1]);
	}
	pipe_ends[1] = 0;
}
//: vmsplice
static int splice_in(int n)
{
	struct iovec one = { at(n), page };
	ssize_t got = open_pipe() ? -1 : vmsplice(pipe_ends[1], &one, 1, SPLICE_F_NONBLOCK);

	return got < 0 ? errno : got == (ssize_t)page ? 0 : EXDEV;
}
//: drain
static int drain(void)
{
	char bytes[4096];

	if (open_pipe())
		return errno;
	while (read(pipe_ends[0], bytes, sizeof(bytes)) > 0)
		;
	return errno == EAGAIN ? 0 : errno;
}
//: try
static sigjmp_buf escape;
static void trapped(int signal)
{
	siglongjmp(escape, signal);
}
#define TRY(access) ({ int s = sigsetjmp(escape, 1); if (!s) access; s ? 1000 + s : 0; })
//: vfork
static unsigned char *poked;
static int poke_byte, poke_came;
static int child_pokes(void *unused)
{
	(void)unused;
	poke_came = TRY(*(volatile unsigned char *)poked = poke_byte);
	_exit(0);
}
static int poke_by_child(int n, int quarter, int byte)
{
	static char stack[65536] __attribute__((aligned(16)));
	pid_t born;

	poked = (unsigned char *)spot(n, quarter);
	poke_byte = byte;
	born = clone(child_pokes, stack + sizeof(stack), CLONE_VM | CLONE_VFORK | SIGCHLD, NULL);
	return born < 0 || waitpid(born, NULL, 0) != born ? errno : poke_came;
}
//: clear
static int clear_soft_dirty(int proc)
{
	char name[40];
	int fd, bad;

	snprintf(name, sizeof(name), "/proc/%d/clear_refs", (int)pid[proc]);
	fd = open(name, O_WRONLY);
	bad = fd < 0 || write(fd, "4", 1) != 1;
	close(fd);
	return bad ? errno : 0;
}
//: entry
static uint64_t entry(int proc, int n)
{
	uint64_t entry = 0;
	char name[40];
	int fd;

	snprintf(name, sizeof(name), "/proc/%d/pagemap", (int)pid[proc]);
	fd = open(name, O_RDONLY);
	if (fd < 0 || pread(fd, &entry, 8, (off_t)((uintptr_t)at(n) / page * 8)) != 8)
		unsure("pagemap cannot be read");
	close(fd);
	return entry;
}
//: frames
#define FRAME(entry) ((entry) & (((uint64_t)1 << 55) - 1))
static uint64_t zero_frame; /* of the zero page, once a page of nothing was read */
static void know_frames(void)
{
	char *fresh = mmap(at(40), page, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);

	(void)*(volatile char *)fresh;
	zero_frame = FRAME(entry(MYSELF, 40));
	munmap(fresh, page);
	if (!zero_frame)
		unsure("pagemap shows no frames: not root");
}
//: letter
/* None, the zero page, a page, one of shared memory, a swapped one; a marker: poison, a guard, write protection. */
static char letter(int proc, int n)
{
	uint64_t is = entry(proc, n);

	if (is >> 63)
		return FRAME(is) == zero_frame ? 'z' : is >> 61 & 1 ? 'h' : 'p';
	if (!(is >> 62 & 1))
		return '.';
	if ((is & 31) == 31 && is >> 5 & 6)
		return is >> 5 & 4 ? 'g' : 'x';
	return (is & 31) < 22 ? 's' : is >> 57 & 1 ? 'm' : '?';
}
//: before
/* The kernel is free in some of the steps: here they have to have come to what they came to. */
static void as_before(int proc, const char *pages)
{
	for (int n = 0; pages[n]; n++)
		if (letter(proc, n) != pages[n])
			unsure("the steps before the last came to other pages");
}
//: flags
static unsigned long begins, offset;
static char mapping[512]; /* its line */
static const char *flags(int proc, int n) /* of the mapping of a page, which begins there; "" for none */
{
	static char line[512];
	unsigned long from, to;
	char name[40];
	FILE *smaps;
	int inside = 0;

	snprintf(name, sizeof(name), "/proc/%d/smaps", (int)pid[proc]);
	smaps = fopen(name, "r");
	if (!smaps)
		unsure("smaps cannot be read");
	while ((!inside || strncmp(line, "VmFlags:", 8)) && fgets(line, sizeof(line), smaps)) {
		if (sscanf(line, "%lx-%lx %*s %lx", &from, &to, &offset) == 3) {
			inside = from <= (uintptr_t)at(n) && (uintptr_t)at(n) < to;
			begins = from;
			strcpy(mapping, line);
		}
	}
	fclose(smaps);
	return inside ? line + 8 : "";
}
//: byte
static int byte_in_memory(int proc, int n, int offset)
{
	unsigned char byte;
	char name[40];
	int fd;

	if (!(entry(proc, n) >> 63))
		unsure("the page is not in memory");
	snprintf(name, sizeof(name), "/proc/%d/mem", (int)pid[proc]);
	fd = open(name, O_RDONLY);
	if (fd < 0 || pread(fd, &byte, 1, (off_t)(uintptr_t)at(n) + offset) != 1)
		unsure("the page cannot be read");
	close(fd);
	return byte;
}
//: counted
static int counted_as_locked(int proc, int n)
{
	uint64_t is = entry(proc, n), flags = 0;
	int fd = open("/proc/kpageflags", O_RDONLY);

	if (!(is >> 63))
		unsure("the page is not in memory");
	if (fd < 0 || pread(fd, &flags, 8, (off_t)(FRAME(is) * 8)) != 8)
		unsure("kpageflags cannot be read");
	close(fd);
	return flags >> 33 & 1;
}
//: dirty
static void know_dirty(void)
{
	char *fresh = mmap(at(40), page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);

	*fresh = 1;
	if (!(entry(MYSELF, 40) >> 55 & 1))
		unsure("this kernel has no soft-dirty bits");
	munmap(fresh, page);
}
//: count
static long count(int proc, const char *file, const char *line) /* pages, of a line in kB */
{
	char name[40], text[256];
	long kib = -1;
	FILE *in;

	snprintf(name, sizeof(name), "/proc/%d/%s", (int)pid[proc], file);
	in = fopen(name, "r");
	while (in && kib < 0 && fgets(text, sizeof(text), in))
		if (!strncmp(text, line, strlen(line)))
			kib = strtol(text + strlen(line), NULL, 10);
	if (!in || kib < 0)
		unsure("this kernel does not tell the counter");
	fclose(in);
	return kib * 1024 / (long)page;
}
//: exact
/* Some kernels sum up only now and then what each CPU has counted. */
static void count_exactly(void)
{
	char *fresh = mmap(NULL, 70 * page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	for (int i = 0; i < 70; i++) {
		long was = count(MYSELF, "status", "RssAnon:");

		fresh[i * page] = 1;
		if (count(MYSELF, "status", "RssAnon:") <= was)
			unsure("this kernel's counters are not exact");
	}
	munmap(fresh, 70 * page);
}
//: processes
struct order { int step; pid_t pid[5]; };
struct reply { int err, value, done; pid_t child; };
static int ends[4][2];
static pid_t child;
static int act(int step);
/* A process: it does what it is told, and says what came of it. */
static void serve(int self)
{
	struct reply reply = { 0, 0, 0, 0 };
	struct order order;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	while (write(ends[self][1], &reply, sizeof(reply)) == sizeof(reply) &&
	       read(ends[self][1], &order, sizeof(order)) == sizeof(order) && order.step) {
		memcpy(pid, order.pid, sizeof(pid));
		reply.err = act(order.step);
		reply.child = child;@RESULTS@
	}
	_exit(0);
}
static struct reply hear(int proc)
{
	struct reply reply;

	if (read(ends[proc][0], &reply, sizeof(reply)) != sizeof(reply))
		unsure("a process is gone");
	return reply;
}
static void order(int proc, int step)
{
	struct order order = { step, { 0 } };

	memcpy(order.pid, pid, sizeof(pid));
	if (write(ends[proc][0], &order, sizeof(order)) != sizeof(order))
		unsure("a process is gone");
}
static int tell(int proc, int step)
{
	struct reply reply;

	order(proc, step);
	reply = hear(proc);
	child = reply.child;@HEARD@
	return reply.err;
}
//: fork
static int born(int to)
{
	child = (pid_t)syscall(SYS_clone, SIGCHLD | CLONE_PARENT, 0, 0, 0, 0);
	if (child)
		return ERR(child);@CLOSES@
	serve(to);
	return 0;
}
//: gone
static int gone(int proc, int signal)
{
	if (!signal)
		order(proc, 0);
	else if (kill(pid[proc], signal))
		unsure("a process is gone");
	return ERR(waitpid(pid[proc], NULL, 0));
}
//: ksm
#define KSM "/sys/kernel/mm/ksm/"
static const char *const ksm[] = { "use_zero_pages", "sleep_millisecs", "pages_to_scan", "smart_scan", "run" };
static long ksm_was[5];
static long ksm_get(const char *name)
{
	char path[64], text[32] = "";
	int fd;

	snprintf(path, sizeof(path), KSM "%s", name);
	fd = open(path, O_RDONLY);
	if (fd < 0 || read(fd, text, sizeof(text) - 1) < 1)
		return -1;
	close(fd);
	return atol(text);
}
static void ksm_put(const char *name, long value)
{
	char path[64];
	int fd;

	snprintf(path, sizeof(path), KSM "%s", name);
	fd = open(path, O_WRONLY);
	if (fd >= 0)
		dprintf(fd, "%ld", value);
	close(fd);
}
static void ksm_back(void)
{
	for (int i = 0; getpid() == pid[MYSELF] && i < 5; i++)
		if (ksm_was[i] >= 0)
			ksm_put(ksm[i], ksm_was[i]);
}
static void know_ksm(void) /* its daemon stands still but where it is let go */
{
	for (int i = 0; i < 5; i++)
		ksm_was[i] = ksm_get(ksm[i]);
	if (ksm_was[4] < 0 || access(KSM "run", W_OK))
		unsure("no KSM, or not root");
	atexit(ksm_back);
	ksm_put("run", 0);
	ksm_put("smart_scan", 0);
	ksm_put("sleep_millisecs", 0);
	ksm_put("pages_to_scan", 10000);
}
static int ksm_scan(int how) /* 0 it merges, 1 zeros with the zero page too, 2 it takes all of that back */
{
	long until = ksm_get("full_scans") + 3;

	ksm_put("use_zero_pages", how == 1);
	ksm_put("run", how == 2 ? 2 : 1);
	for (int i = 0; how != 2 && ksm_get("full_scans") < until; i++) {
		if (i == 50000)
			unsure("ksmd did not come through");
		usleep(200);
	}
	ksm_put("run", 0);
	return 0;
}
//: folios
static char folios_were[5][16];
static int folio_file(int of, int flags) /* 2 to 32 pages */
{
	char path[96];

	snprintf(path, sizeof(path), "/sys/kernel/mm/transparent_hugepage/hugepages-%zukB/enabled",
		 (2 << of) * page / 1024);
	return open(path, flags);
}
static void folio_put(int of, const char *word)
{
	int fd = folio_file(of, O_WRONLY);

	if (fd >= 0)
		dprintf(fd, "%s", word);
	close(fd);
}
static void folios_back(void)
{
	for (int i = 0; getpid() == pid[MYSELF] && i < 5; i++)
		if (*folios_were[i])
			folio_put(i, folios_were[i]);
}
static void know_folios(void)
{
	int some = 0;

	for (int i = 0; i < 5; i++) {
		char text[64] = "";
		int fd = folio_file(i, O_RDONLY);

		if (fd >= 0 && read(fd, text, sizeof(text) - 1) > 0 && strchr(text, '['))
			some += sscanf(strchr(text, '[') + 1, "%15[a-z]", folios_were[i]);
		close(fd);
	}
	if (!some)
		unsure("this kernel has no folios between a page and a huge page");
	atexit(folios_back);
}
static int folios(void) /* where MADV_HUGEPAGE asks for them */
{
	for (int i = 0; i < 5; i++)
		folio_put(i, "madvise");
	return 0;
}
//: split
static int split(int proc, int n, int pages)
{
	int fd = open("/sys/kernel/debug/split_huge_pages", O_WRONLY);

	if (fd < 0)
		unsure("no split_huge_pages: debugfs is not mounted");
	dprintf(fd, "%d,%p,%p", (int)pid[proc], (void *)at(n), (void *)at(n + pages));
	close(fd);
	return 0;
}
//: group
#define GROUPS "/sys/fs/cgroup/"
static char group[64]; /* of the processes: memory.reclaim is told to it */
static int put(const char *folder, const char *file, const char *text)
{
	char path[128];
	int fd, bad;

	snprintf(path, sizeof(path), "%s/%s", folder, file);
	fd = open(path, O_WRONLY);
	bad = fd < 0 || write(fd, text, strlen(text)) < 0;
	if (fd >= 0)
		close(fd);
	return bad;
}
static void leave_group(void)
{
	(void)put(group, "cgroup.kill", "1");
	for (int i = 0; rmdir(group) && errno == EBUSY && i < 100; i++)
		usleep(20000);
}
static void make_group(void)
{
	snprintf(group, sizeof(group), GROUPS "find-%d", (int)getpid());
	if (put(GROUPS, "cgroup.subtree_control", "+memory") || mkdir(group, 0755))
		unsure("no control group of version 2 with a memory controller");
	atexit(leave_group);
	if (put(group, "memory.reclaim", "4K") && errno == ENOENT)
		unsure("no memory.reclaim");
}
static void enter_group(void)
{
	if (put(group, "cgroup.procs", "0"))
		unsure("the control group cannot be entered");
}
static int reclaim(const char *much)
{
	(void)put(group, "memory.reclaim", much); /* it may find less than that */
	return 0;
}
