"""What one would write with Debian's python3-prometheus-client instead. Argument: the file to write."""

import subprocess
import sys

from prometheus_client import CollectorRegistry, Gauge, write_to_textfile

registry = CollectorRegistry()
labels = ["user", "tty", "from", "login", "idle", "jcpu", "pcpu", "what"]
info = Gauge("ssh_session_info", "An active SSH session.", labels, registry=registry)
total = Gauge("ssh_sessions_total", "Active SSH sessions.", registry=registry)
for line in subprocess.run(["w", "-h"], capture_output=True, text=True, check=True).stdout.splitlines():
    info.labels(*(line.split(None, 7) + [""] * 8)[:8]).set(1)
    total.inc()
write_to_textfile(sys.argv[1], registry)
