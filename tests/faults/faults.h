/* How a program tells the preloaded shim.c which of its calls shall go wrong. */

#ifndef FAULTS_H
#define FAULTS_H

enum {
    /* Any positive kind is the errno that the call fails with. EINTR is for calls that may be interrupted. */
    /* The process is killed before the call, */
    FAULT_KILL_BEFORE = -1,
    /* after it, or after half of it where it reads or writes. */
    FAULT_KILL_AFTER = -2,
    /* Half of the bytes are read or written. Only reads and writes are counted, */
    FAULT_SHORT = -3,
    /* and here too: the process is killed after the half. */
    FAULT_KILL_HALF = -4
};

/* From now on calls that use what is under the directory (an absolute path that stays valid) are counted from 1, and
 * the one of that number goes wrong. */
void fault_arm(const char *directory, long call, int kind) __attribute__((weak));

/* Ends that, and gives the number of calls. */
long fault_disarm(void) __attribute__((weak));

/* Whether renameat2 with RENAME_EXCHANGE shall be refused, as some file systems do. */
void fault_without_exchange(int value) __attribute__((weak));

#endif
