"""The peak of memory of a process, without what the process that started it once held. Linux only."""

from __future__ import annotations

#: A Python expression for the peak in KiB, of programs that a benchmark starts. `ru_maxrss` begins with the peak of the
#: process that starts them.
OWN_PEAK = 'int(open("/proc/self/status").read().partition("VmHWM:")[2].split()[0])'
