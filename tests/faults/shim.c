/* Preloaded into a program: counts the calls by which it uses the files under one directory, and at one of them ends
 * the process or makes the call fail. The program tells what and where through the functions of faults.h. */

#define _GNU_SOURCE

#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <unistd.h>

#include "faults.h"

#define FILES 4096

static const char *root;
static int is_watched[FILES];
static long count, at;
static int kind, without_exchange;

void fault_arm(const char *directory, long call, int what)
{
    root = directory;
    count = 0;
    at = call;
    kind = what;
    memset(is_watched, 0, sizeof(is_watched));
}

long fault_disarm(void)
{
    root = NULL;
    return count;
}

void fault_without_exchange(int value)
{
    without_exchange = value;
}

static int watched(int directory, const char *path)
{
    if (root == NULL) {
        return 0;
    }
    if (path != NULL && path[0] == '/') {
        return strncmp(path, root, strlen(root)) == 0;
    }
    return directory >= 0 && directory < FILES && is_watched[directory];
}

static int file(int descriptor)
{
    return watched(descriptor, NULL);
}

static void end(void)
{
    kill(getpid(), SIGKILL);
    for (;;) {
        pause();
    }
}

/* What becomes of a call. */
enum { GO, FAIL, HALF, THEN_END };

/* Counts the call. Only some may be interrupted, and only some do a part of their work. */
static int next(int may_be_interrupted, int may_be_short)
{
    int is_of_halves = kind == FAULT_SHORT || kind == FAULT_KILL_HALF;
    if ((kind == EINTR && !may_be_interrupted) || (is_of_halves && !may_be_short)) {
        return GO;
    }
    if (++count != at) {
        return GO;
    }
    switch (kind) {
    case FAULT_KILL_BEFORE:
        end();
        return FAIL;
    case FAULT_KILL_AFTER:
    case FAULT_KILL_HALF:
        return THEN_END;
    case FAULT_SHORT:
        return HALF;
    default:
        errno = kind;
        return FAIL;
    }
}

#define REAL(name)                                                                                \
    static __typeof__(&name) real;                                                                \
    if (real == NULL) {                                                                           \
        *(void **)&real = dlsym(RTLD_NEXT, #name);                                                \
    }

/* A call that gives `failed` where it fails. */
#define CALL(condition, interruptible, failed, call)                                              \
    do {                                                                                          \
        int fate = (condition) ? next(interruptible, 0) : GO;                                     \
        if (fate == FAIL) {                                                                       \
            return failed;                                                                        \
        }                                                                                         \
        __typeof__(call) result = (call);                                                         \
        if (fate == THEN_END) {                                                                   \
            end();                                                                                \
        }                                                                                         \
        return result;                                                                            \
    } while (0)

/* A call that gives a descriptor of what it opens. */
#define OPEN(directory, path, call)                                                               \
    do {                                                                                          \
        int is_ours = watched(directory, path);                                                   \
        int fate = is_ours ? next(1, 0) : GO;                                                     \
        if (fate == FAIL) {                                                                       \
            return -1;                                                                            \
        }                                                                                         \
        int result = (call);                                                                      \
        if (result >= 0 && result < FILES) {                                                      \
            is_watched[result] = is_ours;                                                         \
        }                                                                                         \
        if (fate == THEN_END) {                                                                   \
            end();                                                                                \
        }                                                                                         \
        return result;                                                                            \
    } while (0)

static mode_t mode_of(int flags, va_list arguments)
{
    return flags & (O_CREAT | O_TMPFILE) ? (mode_t)va_arg(arguments, int) : 0;
}

#define MODE                                                                                      \
    va_list arguments;                                                                            \
    va_start(arguments, flags);                                                                   \
    mode_t mode = mode_of(flags, arguments);                                                      \
    va_end(arguments)

int open(const char *path, int flags, ...)
{
    MODE;
    REAL(open);
    OPEN(-1, path, real(path, flags, mode));
}

int open64(const char *path, int flags, ...)
{
    MODE;
    REAL(open64);
    OPEN(-1, path, real(path, flags, mode));
}

int openat(int directory, const char *path, int flags, ...)
{
    MODE;
    REAL(openat);
    OPEN(directory, path, real(directory, path, flags, mode));
}

int openat64(int directory, const char *path, int flags, ...)
{
    MODE;
    REAL(openat64);
    OPEN(directory, path, real(directory, path, flags, mode));
}

int close(int descriptor)
{
    REAL(close);
    int is_ours = file(descriptor);
    if (descriptor >= 0 && descriptor < FILES) {
        is_watched[descriptor] = 0;
    }
    int fate = is_ours ? next(0, 0) : GO;
    int result = real(descriptor);
    if (fate == THEN_END) {
        end();
    }
    if (fate == FAIL) {
        errno = kind;
        return -1;
    }
    return result;
}

static DIR *watch(DIR *directory, int is_ours)
{
    if (directory != NULL && dirfd(directory) < FILES) {
        is_watched[dirfd(directory)] = is_ours;
    }
    return directory;
}

DIR *opendir(const char *path)
{
    REAL(opendir);
    int is_ours = watched(-1, path);
    CALL(is_ours, 0, NULL, watch(real(path), is_ours));
}

DIR *fdopendir(int descriptor)
{
    REAL(fdopendir);
    CALL(file(descriptor), 0, NULL, real(descriptor));
}

struct dirent64 *readdir64(DIR *directory)
{
    REAL(readdir64);
    CALL(file(dirfd(directory)), 0, NULL, real(directory));
}

/* Old, and used still. It gives the error's number. */
#pragma GCC diagnostic ignored "-Wdeprecated-declarations"
int readdir64_r(DIR *directory, struct dirent64 *entry, struct dirent64 **found)
{
    REAL(readdir64_r);
    CALL(file(dirfd(directory)), 0, kind, real(directory, entry, found));
}

int closedir(DIR *directory)
{
    REAL(closedir);
    int descriptor = dirfd(directory), is_ours = file(descriptor);
    if (descriptor >= 0 && descriptor < FILES) {
        is_watched[descriptor] = 0;
    }
    int fate = is_ours ? next(0, 0) : GO;
    int result = real(directory);
    if (fate == THEN_END) {
        end();
    }
    if (fate == FAIL) {
        errno = kind;
        return -1;
    }
    return result;
}

/* Half of what was asked for; killed in it, the half is done. */
#define TRANSFER(name, condition, length, call, half)                                             \
    do {                                                                                          \
        int fate = (condition) ? next(1, (length) > 1) : GO;                                      \
        if (fate == FAIL) {                                                                       \
            return -1;                                                                            \
        }                                                                                         \
        ssize_t result = fate == GO ? (call) : (half);                                            \
        if (fate == THEN_END) {                                                                   \
            end();                                                                                \
        }                                                                                         \
        return result;                                                                            \
    } while (0)

ssize_t read(int descriptor, void *bytes, size_t length)
{
    REAL(read);
    TRANSFER(read, file(descriptor), length, real(descriptor, bytes, length), real(descriptor, bytes, (length + 1) / 2));
}

ssize_t pread64(int descriptor, void *bytes, size_t length, off64_t offset)
{
    REAL(pread64);
    TRANSFER(pread64, file(descriptor), length, real(descriptor, bytes, length, offset),
             real(descriptor, bytes, (length + 1) / 2, offset));
}

ssize_t write(int descriptor, const void *bytes, size_t length)
{
    REAL(write);
    TRANSFER(write, file(descriptor), length, real(descriptor, bytes, length),
             real(descriptor, bytes, (length + 1) / 2));
}

ssize_t copy_file_range(int from, off64_t *from_at, int to, off64_t *to_at, size_t length, unsigned flags)
{
    REAL(copy_file_range);
    CALL(file(from) || file(to), 0, -1, real(from, from_at, to, to_at, length, flags));
}

ssize_t sendfile64(int to, int from, off64_t *offset, size_t length)
{
    REAL(sendfile64);
    CALL(file(from) || file(to), 0, -1, real(to, from, offset, length));
}

off64_t lseek64(int descriptor, off64_t offset, int whence)
{
    REAL(lseek64);
    CALL(file(descriptor), 0, -1, real(descriptor, offset, whence));
}

int ftruncate64(int descriptor, off64_t length)
{
    REAL(ftruncate64);
    CALL(file(descriptor), 1, -1, real(descriptor, length));
}

int fsync(int descriptor)
{
    REAL(fsync);
    CALL(file(descriptor), 1, -1, real(descriptor));
}

int fdatasync(int descriptor)
{
    REAL(fdatasync);
    CALL(file(descriptor), 1, -1, real(descriptor));
}

int flock(int descriptor, int operation)
{
    REAL(flock);
    CALL(file(descriptor), 0, -1, real(descriptor, operation));
}

int fstat64(int descriptor, struct stat64 *status)
{
    REAL(fstat64);
    CALL(file(descriptor), 0, -1, real(descriptor, status));
}

int stat64(const char *path, struct stat64 *status)
{
    REAL(stat64);
    CALL(watched(-1, path), 0, -1, real(path, status));
}

int lstat64(const char *path, struct stat64 *status)
{
    REAL(lstat64);
    CALL(watched(-1, path), 0, -1, real(path, status));
}

int fstatat64(int directory, const char *path, struct stat64 *status, int flags)
{
    REAL(fstatat64);
    CALL(watched(directory, path), 0, -1, real(directory, path, status, flags));
}

int statx(int directory, const char *path, int flags, unsigned mask, struct statx *status)
{
    REAL(statx);
    CALL(watched(directory, path), 0, -1, real(directory, path, flags, mask, status));
}

int faccessat(int directory, const char *path, int mode, int flags)
{
    REAL(faccessat);
    CALL(watched(directory, path), 0, -1, real(directory, path, mode, flags));
}

char *realpath(const char *path, char *resolved)
{
    REAL(realpath);
    CALL(watched(-1, path), 0, NULL, real(path, resolved));
}

ssize_t readlink(const char *path, char *target, size_t length)
{
    REAL(readlink);
    CALL(watched(-1, path), 0, -1, real(path, target, length));
}

int rename(const char *from, const char *to)
{
    REAL(rename);
    CALL(watched(-1, from), 0, -1, real(from, to));
}

/* The file system may be one that exchanges no directories. */
static int cannot_exchange(void)
{
    errno = EINVAL;
    return -1;
}

int renameat2(int from_directory, const char *from, int to_directory, const char *to, unsigned flags)
{
    REAL(renameat2);
    int is_refused = without_exchange && flags & RENAME_EXCHANGE;
    CALL(watched(from_directory, from), 0, -1,
         is_refused ? cannot_exchange() : real(from_directory, from, to_directory, to, flags));
}

int mkdir(const char *path, mode_t mode)
{
    REAL(mkdir);
    CALL(watched(-1, path), 0, -1, real(path, mode));
}

int rmdir(const char *path)
{
    REAL(rmdir);
    CALL(watched(-1, path), 0, -1, real(path));
}

int unlink(const char *path)
{
    REAL(unlink);
    CALL(watched(-1, path), 0, -1, real(path));
}

int unlinkat(int directory, const char *path, int flags)
{
    REAL(unlinkat);
    CALL(watched(directory, path), 0, -1, real(directory, path, flags));
}

int linkat(int from_directory, const char *from, int to_directory, const char *to, int flags)
{
    REAL(linkat);
    CALL(watched(from_directory, from), 0, -1, real(from_directory, from, to_directory, to, flags));
}

int symlink(const char *target, const char *path)
{
    REAL(symlink);
    CALL(watched(-1, path), 0, -1, real(target, path));
}

int chmod(const char *path, mode_t mode)
{
    REAL(chmod);
    CALL(watched(-1, path), 0, -1, real(path, mode));
}

int fchmod(int descriptor, mode_t mode)
{
    REAL(fchmod);
    CALL(file(descriptor), 0, -1, real(descriptor, mode));
}
