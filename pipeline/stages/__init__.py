"""The stages that DVC runs.

Threads of OpenMP wait asleep, which is read when torch is imported. Threads that spin take the time of the thread that
they wait for: with other processes on the machine, training is many times slower (benchmarks/contention.py).
"""

import os

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
