#!/usr/bin/env bash
# watch.sh DIR     waits until its stdin is closed, which happens when the process that holds the other end is gone, however it went;
# then ends every server and daemon whose pid file lies in DIR, and removes DIR. So nothing outlives a test run or a demo.
set -u
dir=${1:?folder}
trap '' INT TERM HUP
cat >/dev/null
ours() { tr '\0' ' ' 2>/dev/null <"/proc/$1/cmdline" | grep -qF "$dir"; }   # the pid may be somebody else's by now
end() { # PID SIGNAL, then SIGKILL
  kill "-$2" "$1" 2>/dev/null
  for _ in $(seq 1 50); do ours "$1" || return; sleep 0.1; done
  kill -9 "$1" 2>/dev/null
}
# A server may be coming up just now: look again until a look finds nothing.
for _ in 1 2 3 4 5; do
  found=
  for file in "$dir"/*/daemon.*.pid "$dir"/*/pid "$dir"/*/postmaster.pid; do
    [ -e "$file" ] && read -r pid <"$file" && ours "$pid" || continue
    found=1
    case $file in
      */postmaster.pid) end "$pid" QUIT & ;;   # "immediate": gone at once, its shared memory too
      *) end "$pid" KILL & ;;
    esac
  done
  wait
  [ -n "$found" ] || break
done
rm -rf "$dir"
