"""Runs commands in turn and reports what each run cost. Node.js does not report a child's CPU time; wait4(2) does.

Standard input: {"rounds": 40, "commands": [["w"], ...]}. Standard output: for every round, for every command,
{"user", "system", "wall"} in seconds and {"written"} in bytes, of the command and of all that it ran. Written is what the
kernel will have to bring to a disk, in pages. A command that fails ends this.
"""

import json
import os
import sys
import time

STREAMS = [
    (os.POSIX_SPAWN_OPEN, 0, "/dev/null", os.O_RDONLY, 0),
    (os.POSIX_SPAWN_OPEN, 1, "/dev/null", os.O_WRONLY, 0),
]


def run(command):
    start = time.monotonic()
    pid = os.posix_spawnp(command[0], command, os.environ, file_actions=STREAMS)
    _, status, usage = os.wait4(pid, 0)
    if status != 0:
        sys.exit(f"failed with wait status {status}: {' '.join(command)}")
    return {
        "user": usage.ru_utime,
        "system": usage.ru_stime,
        "wall": time.monotonic() - start,
        "written": usage.ru_oublock * 512,
    }


def run_all(commands, backwards):
    """Every other round runs backwards, so that no command always has the same one before it."""
    order = list(enumerate(commands))
    costs = {index: run(command) for index, command in (reversed(order) if backwards else order)}
    return [costs[index] for index in range(len(commands))]


job = json.load(sys.stdin)
run_all(job["commands"], False)
json.dump([run_all(job["commands"], round % 2) for round in range(job["rounds"])], sys.stdout)
