#!/usr/bin/env bash
# watch.sh DIR [PID]     waits until its stdin is closed, which happens when the process that holds the other end is gone, however it
# went (or until PID is gone); then ends what was started in DIR, and removes it. So nothing outlives a test run or a demo. DIR is a private folder with a name
# that occurs once: a process with an argument below it (a cluster, a broker, a daemon with its file) is one of ours.
set -u
dir=${1:?folder}
trap '' INT TERM HUP
if [ $# -gt 1 ]; then tail --pid="$2" -f /dev/null; else cat >/dev/null; fi
ours() {
  local file pid
  for file in /proc/[0-9]*/cmdline; do
    pid=${file#/proc/}; pid=${pid%/cmdline}
    tr '\0' '\n' 2>/dev/null <"$file" | grep -qF -- "$dir/" && echo "$pid"
  done
}
# Some may be starting others just now: it is over when nothing was found three times.
quiet=0 tries=0
while [ $quiet -lt 3 ]; do
  pids=$(ours) quiet=$((quiet + 1)) tries=$((tries + 1))
  for pid in $pids; do
    quiet=0
    # SIGQUIT ends a PostgreSQL server at once and in order, its shared memory goes too. What does not listen is killed.
    case $(cat "/proc/$pid/comm" 2>/dev/null) in
      postgres) if [ $tries -lt 20 ]; then kill -QUIT "$pid"; else kill -9 "$pid"; fi;;
      *) kill -9 "$pid";;
    esac 2>/dev/null
  done
  sleep 0.2
done
rm -rf "$dir"
