# Sourced by the scripts here: where things lie. Every variable can be set from outside.
SERVERS=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
ROOT=$(cd "$SERVERS/../.." && pwd)
TOOLS=${TABLELIFT_TOOLS:-$ROOT/.tools}     # jars and the class archive: kept, ignored by git, `make clean` removes them
export LC_ALL=C.UTF-8

# PostgreSQL's own programs: initdb and postgres are not on the PATH of a Debian machine.
find_pgbin() {
  local dir
  for dir in "${PGBIN:-}" $(ls -d /usr/lib/postgresql/*/bin 2>/dev/null | sort -rV) "$(pg_config --bindir 2>/dev/null)"; do
    [ -n "$dir" ] && [ -x "$dir/initdb" ] && [ -x "$dir/postgres" ] && { echo "$dir"; return; }
  done
  return 1
}
# Private servers live under the temp folder: PostgreSQL refuses to run as root, and the user we drop to cannot enter /root.
private_dir() { # name
  mktemp -d "${TMPDIR:-/tmp}/tablelift-$1.XXXXXX"
}
server_user() { if getent passwd postgres >/dev/null; then echo postgres; else echo nobody; fi; }
as_server() { if [ "$(id -u)" = 0 ]; then runuser -u "$(server_user)" -- "$@"; else "$@"; fi; }
die() { printf '%s\n' "$@" >&2; exit 1; }
# A port that is free, with the one after it, below the range from which outgoing connections take theirs.
free_port() {
  local port
  while :; do
    port=$((20000 + RANDOM % 12000))
    if ! (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null && ! (exec 3<>"/dev/tcp/127.0.0.1/$((port + 1))") 2>/dev/null; then echo "$port"; return; fi
  done
}
