#!/usr/bin/env bash
# The demo: `make demo`, or `DEMO_LOG=kafka make demo`. Two private PostgreSQL servers, live traffic, four tables lifted, two SIGKILLs,
# and equality proven by psql alone. Leaves nothing behind.
set -euo pipefail
. "$(dirname "$0")/../servers/env.sh"
. "$(dirname "$0")/story.sh"
log=${DEMO_LOG:-local}
case $log in local|kafka) ;; *) die "DEMO_LOG is \`$log\`" "hint: local or kafka";; esac
PGBIN=$(find_pgbin) || die "no PostgreSQL server found" "hint: tests/servers/packages.sh pg"

say "building tablelift (release)"
(cd "$ROOT" && cargo build --release --quiet --bin tablelift)
tablelift=${CARGO_TARGET_DIR:-$ROOT/target}/release/tablelift
started=$SECONDS

dir=$(private_dir demo); chmod 755 "$dir"
finish() { # everything that runs in the demo's folder ends, and the folder goes
  local status=$?
  trap '' INT TERM
  [ -z "${daemon:-}" ] || { kill -9 "$daemon"; wait "$daemon"; } 2>/dev/null || true
  "$SERVERS/watch.sh" "$dir" </dev/null
  [ $status = 0 ] || printf '\n%s\n' "the demo FAILED (status $status); its servers are stopped and its folder is removed" >&2
  exit $status
}
trap finish EXIT
trap 'echo; echo "interrupted: cleaning up"; exit 130' INT TERM HUP
setsid "$SERVERS/watch.sh" "$dir" $$ </dev/null >/dev/null 2>&1 &   # should this script itself be killed

say "starting two PostgreSQL servers in $dir"
legacy_port=$(free_port); "$SERVERS/pg.sh" start "$dir/legacy" "$legacy_port" "shared_buffers = 256MB" "max_wal_size = 2GB"
service_port=$(free_port); "$SERVERS/pg.sh" start "$dir/service" "$service_port" "shared_buffers = 256MB" "max_wal_size = 2GB"
# Through each server's own socket, so that a process of the demo can be told by its folder.
legacy() { psql -XqAt -v ON_ERROR_STOP=1 -h "$dir/legacy" -p "$legacy_port" -U postgres -d legacy "$@"; }
service() { psql -XqAt -v ON_ERROR_STOP=1 -h "$dir/service" -p "$service_port" -U postgres -d service "$@"; }
createdb -h "$dir/legacy" -p "$legacy_port" -U postgres legacy
createdb -h "$dir/service" -p "$service_port" -U postgres service
if [ "$log" = kafka ]; then
  say "starting Apache Kafka"
  "$SERVERS/packages.sh" kafka
  broker_port=$(free_port); "$SERVERS/kafka.sh" start "$dir/kafka" "$broker_port"
fi

say "filling the legacy database with pgbench: 1,000,000 accounts"
pgbench=(pgbench -h "$dir/legacy" -p "$legacy_port" -U postgres)
"${pgbench[@]}" -i -s 10 -q legacy >/dev/null 2>&1
make_service_tables
say "the application goes to work on it: TPC-B, 400 transactions a second, four clients"
"${pgbench[@]}" -n -c 4 -j 1 -R 400 -T 3600 legacy >"$dir/pgbench.out" 2>&1 &
traffic=$!
until [ "$(legacy -c 'select count(*) from pgbench_history')" -gt 100 ]; do sleep 0.1; done

config=$dir/demo-pgbench.toml
connector_file >"$config"
export DEMO_SOURCE="postgres://postgres@127.0.0.1:$legacy_port/legacy" DEMO_TARGET="postgres://postgres@127.0.0.1:$service_port/service"
DEMO_HTTP_PORT=$(free_port); export DEMO_HTTP_PORT

say "tablelift check: both databases, every statement prepared on the real target"
"$tablelift" check "$config" || die "check found an error"
say "tablelift prepare: publication, slot, control schema"
"$tablelift" prepare "$config" || die "prepare failed"

say "tablelift run: copies, then follows"
run_daemon
await_copy 300000
say "SIGKILL, in the middle of the copy"
kill_daemon
run_daemon
await_follow
lag_lines 4
say "SIGKILL, in the middle of the stream"
kill_daemon
sleep 2                                    # the application does not wait for us
run_daemon
await_follow
lag_lines 4

say "the application stops"
alive "$traffic" || { cat "$dir/pgbench.out" >&2; die "the traffic ended early"; }
kill "$traffic"; wait "$traffic" 2>/dev/null || true
transactions=$(legacy -c 'select count(*) from pgbench_history')
say "tablelift wait --lsn current: until the service's database holds all of it"
"$tablelift" wait "$config" --lsn current --timeout 60s || die "the target did not get there in a minute"
say "both sides by psql, without tablelift's help"
compare_all
stop_daemon
tell
