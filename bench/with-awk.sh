#!/bin/sh
# What one would write as a shell one-liner instead. Argument: the file to write.
w -h | awk '{ printf "ssh_session_info{user=\"%s\",tty=\"%s\",from=\"%s\"} 1\n", $1, $2, $3 } END { print "ssh_sessions_total", NR }' >"$1.tmp" && mv "$1.tmp" "$1"
