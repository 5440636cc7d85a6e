/* Kills the process at the n-th change of a folder, and logs what is on the disk by then.
 *
 * Preloaded (LD_PRELOAD) into a writer; armed by faults_arm(n, folder, shadow). Counted are calls
 * that flush, rename, link or remove files below the folder, before and after they are made.
 * Below the folder SHADOW lies a copy of each file as it was when it was flushed, and LOG names
 * the calls, so that a test can tell what a power loss would have left.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <dlfcn.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static long left = -1, calls = 0, copies = 0;
static char folder[4096], shadow[4096];
static int log_file = -1;
static pthread_mutex_t turn = PTHREAD_MUTEX_INITIALIZER;

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

void faults_arm(long n, const char *path, const char *where) {
    char log[4200];
    snprintf(folder, sizeof folder, "%s/", path);
    snprintf(shadow, sizeof shadow, "%s", where);
    snprintf(log, sizeof log, "%s/log", where);
    log_file = open(log, O_WRONLY | O_CREAT | O_APPEND, 0600);
    left = n;
    calls = 0;
}

long faults_calls(void) { return calls; }

static int ours(const char *path) {
    size_t n = strlen(folder);
    return n && (!strncmp(path, folder, n) || (!strncmp(path, folder, n - 1) && !path[n - 1]));
}

static void absolute(int at, const char *path, char *full) {
    char base[4096] = "", link[64];
    if (*path == '/') { snprintf(full, 4096, "%s", path); return; }
    if (at == AT_FDCWD) { if (!getcwd(base, sizeof base)) *base = 0; }
    else {
        snprintf(link, sizeof link, "/proc/self/fd/%d", at);
        ssize_t n = readlink(link, base, sizeof base - 1);
        base[n < 0 ? 0 : n] = 0;
    }
    snprintf(full, 4096, "%.2000s/%.2000s", base, path);
}

static void note(const char *what, const char *one, const char *other, long copy) {
    char line[8400];
    int n = snprintf(line, sizeof line, "%s\t%s\t%s\t%ld\n", what, one, other, copy);
    if (log_file >= 0 && write(log_file, line, n) != n) abort();
}

/* The names in a folder that is flushed, and which files they are of. */
static void note_names(const char *path) {
    char full[4400];
    DIR *open_folder = opendir(path);
    note("sync", path, "", -1);
    for (struct dirent *each; open_folder && (each = readdir(open_folder));) {
        snprintf(full, sizeof full, "%s/%s", path, each->d_name);
        if (each->d_type != DT_DIR) note("name", full, "", each->d_ino);
    }
    if (open_folder) closedir(open_folder);
}

static void point(void) {
    calls++;
    if (left > 0 && --left == 0) kill(getpid(), SIGKILL);
}

static void copied(int fd, const char *to) {
    char buffer[65536];
    int out = open(to, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    off_t at = 0;
    for (ssize_t n; (n = pread(fd, buffer, sizeof buffer, at)) > 0; at += n)
        if (write(out, buffer, n) != n) abort();
    close(out);
}

static int flushed(int fd, int (*real)(int)) {
    char path[4096], self[64], to[4300];
    struct stat status;
    snprintf(self, sizeof self, "/proc/self/fd/%d", fd);
    ssize_t n = readlink(self, path, sizeof path - 1);
    path[n < 0 ? 0 : n] = 0;
    if (!ours(path)) return real(fd);
    pthread_mutex_lock(&turn);
    point();
    int result = real(fd);
    fstat(fd, &status);
    if (S_ISDIR(status.st_mode)) note_names(path);
    else {
        long number = copies++;
        snprintf(to, sizeof to, "%s/%ld.copy", shadow, number);
        int again = open(self, O_RDONLY);
        copied(again, to);
        close(again);
        snprintf(to, sizeof to, "%s/%ld.kept", shadow, number);
        REAL(link)(path, to);  /* No other file gets its number. */
        snprintf(to, sizeof to, "%ld", (long)status.st_ino);
        note("flush", path, to, number);
    }
    point();
    pthread_mutex_unlock(&turn);
    return result;
}

int fsync(int fd) { return flushed(fd, REAL(fsync)); }
int fdatasync(int fd) { return flushed(fd, REAL(fdatasync)); }

#define NAMED(what, at, one, other_at, other, call)                     \
    char from[4096], to[4096] = "";                                     \
    absolute(at, one, from);                                            \
    if (other) absolute(other_at, other, to);                           \
    if (!ours(from)) return call;                                       \
    pthread_mutex_lock(&turn);                                          \
    point();                                                            \
    int result = call;                                                  \
    if (!result) note(what, from, to, -1);                              \
    point();                                                            \
    pthread_mutex_unlock(&turn);                                        \
    return result;

int rename(const char *a, const char *b) {
    NAMED("rename", AT_FDCWD, a, AT_FDCWD, b, REAL(rename)(a, b))
}
int renameat(int x, const char *a, int y, const char *b) {
    NAMED("rename", x, a, y, b, REAL(renameat)(x, a, y, b))
}
int renameat2(int x, const char *a, int y, const char *b, unsigned flags) {
    NAMED("rename", x, a, y, b, REAL(renameat2)(x, a, y, b, flags))
}
int link(const char *a, const char *b) {
    NAMED("link", AT_FDCWD, a, AT_FDCWD, b, REAL(link)(a, b))
}
int linkat(int x, const char *a, int y, const char *b, int flags) {
    NAMED("link", x, a, y, b, REAL(linkat)(x, a, y, b, flags))
}
int unlink(const char *a) {
    const char *none = NULL;
    NAMED("unlink", AT_FDCWD, a, AT_FDCWD, none, REAL(unlink)(a))
}
int unlinkat(int x, const char *a, int flags) {
    const char *none = NULL;
    NAMED("unlink", x, a, AT_FDCWD, none, REAL(unlinkat)(x, a, flags))
}
