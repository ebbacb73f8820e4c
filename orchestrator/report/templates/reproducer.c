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
//: try
static sigjmp_buf escape;
static void trapped(int signal)
{
	siglongjmp(escape, signal);
}
#define TRY(access) ({ int s = sigsetjmp(escape, 1); if (!s) access; s ? 1000 + s : 0; })
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
/* None, the zero page, a page, one of shared memory, a swapped one, a marker of write protection. */
static char letter(int proc, int n)
{
	uint64_t is = entry(proc, n);

	if (is >> 63)
		return FRAME(is) == zero_frame ? 'z' : is >> 61 & 1 ? 'h' : 'p';
	return !(is >> 62 & 1) ? '.' : (is & 31) < 22 ? 's' : is >> 57 & 1 ? 'm' : '?';
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
static unsigned long begins;
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
		if (sscanf(line, "%lx-%lx ", &from, &to) == 2) {
			inside = from <= (uintptr_t)at(n) && (uintptr_t)at(n) < to;
			begins = from;
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
struct reply { int err, value, done; pid_t child; };
static int ends[4][2];
static pid_t child;
static int act(int step);
/* A process: it does what it is told, and says what came of it. */
static void serve(int self)
{
	struct reply reply = { 0, 0, 0, 0 };
	int step;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	while (write(ends[self][1], &reply, sizeof(reply)) == sizeof(reply) &&
	       read(ends[self][1], &step, sizeof(step)) == sizeof(step) && step) {
		reply.err = act(step);
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
static int tell(int proc, int step)
{
	struct reply reply;

	if (write(ends[proc][0], &step, sizeof(step)) != sizeof(step))
		unsure("a process is gone");
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
	int step = 0;

	if (signal ? kill(pid[proc], signal) : write(ends[proc][0], &step, sizeof(step)) != sizeof(step))
		unsure("a process is gone");
	return ERR(waitpid(pid[proc], NULL, 0));
}
