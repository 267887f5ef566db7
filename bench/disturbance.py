"""How much of the machine other processes had while something was measured: a timing that was disturbed says so."""

import os
import time

TICK = 1 / os.sysconf("SC_CLK_TCK")


def machine_seconds():
    """Processor time of all cores that wasn't idle, what the hypervisor gave to others included."""
    with open("/proc/stat") as file:
        user, nice, system, _idle, _wait, interrupts, soft, stolen = map(int, file.readline().split()[1:9])
    return TICK * (user + nice + system + interrupts + soft + stolen)


def process_seconds(process):
    """Processor time of one process and its threads."""
    with open(f"/proc/{process}/stat") as file:
        fields = file.read().rpartition(")")[2].split()
    return TICK * (int(fields[11]) + int(fields[12]))


class Disturbance:
    """Begins to watch; `processes` are ours."""

    def __init__(self, processes):
        self.processes = [*processes, os.getpid()]
        self.begin, self.time = self._others(), time.monotonic()

    def _others(self):
        return machine_seconds() - sum(map(process_seconds, self.processes))

    def share(self):
        """The others' share of the machine since then, 0 to 1."""
        elapsed = (time.monotonic() - self.time) * os.cpu_count()
        return max(0.0, (self._others() - self.begin) / elapsed)
