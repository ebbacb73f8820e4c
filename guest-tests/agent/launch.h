/* SPDX-License-Identifier: GPL-2.0-only */
/* Start a program in a group of its own, its stderr a pipe to us, and learn whether it really runs. */
#ifndef LAB_LAUNCH_H
#define LAB_LAUNCH_H

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/prctl.h>
#include <unistd.h>

/* Its pid, or -1; *exec_error is 0 or why it could not become the program, and then it is gone. */
static inline pid_t launch(char **argv, int *stderr_end, int *exec_error)
{
	int report[2], err[2], code = 0;
	pid_t pid, parent = getpid();

	if (pipe2(report, O_CLOEXEC) || pipe2(err, O_CLOEXEC))
		return -1;
	pid = fork();
	if (!pid) {
		sigset_t none;

		prctl(PR_SET_PDEATHSIG, SIGKILL);
		if (getppid() != parent)
			_exit(127);
		setpgid(0, 0);
		sigemptyset(&none);
		sigprocmask(SIG_SETMASK, &none, NULL);
		dup2(open("/dev/null", O_RDONLY), STDIN_FILENO);
		dup2(err[1], STDERR_FILENO);
		execvp(argv[0], argv);
		code = errno;
		(void)!write(report[1], &code, sizeof(code));
		_exit(127);
	}
	close(report[1]);
	close(err[1]);
	if (pid > 0) {
		/* Ends without a word when the exec worked: the program is there from now on. */
		if (read(report[0], &code, sizeof(code)) != sizeof(code))
			code = 0;
		*exec_error = code;
		*stderr_end = err[0];
		fcntl(err[0], F_SETFL, O_NONBLOCK);
	}
	close(report[0]);
	return pid;
}

#endif
