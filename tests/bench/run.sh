#!/usr/bin/env bash
# The figures, side by side with native replication in the same run, and with Debezium where its jars are found (peers.sh says where).
# BENCH="capture apply" chooses parts (all: capture apply mapping tpcb latency memory copy kill huge beside kafka kafkacopy; and `sigkills`, a claim of its own), RUNS how often each is measured (3).
# Writes BENCHMARKS.md. Stop everything else first: only ratios within one run carry over.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
. "$here/../servers/env.sh"
. "$here/bench.sh"
. "$here/parts.sh"
. "$here/mapping.sh"
. "$here/copies.sh"
. "$here/latency.sh"
. "$here/peers.sh"
RUNS=${RUNS:-3}
PGBIN=$(find_pgbin) || die "no PostgreSQL server found" "hint: tests/servers/packages.sh pg"
say "building (release)"
(cd "$ROOT" && cargo build --release --quiet --bin tablelift --example capture_null --example delay)
built=${CARGO_TARGET_DIR:-$ROOT/target}/release
dir=$(private_dir bench); chmod 755 "$dir"
trap 'status=$?; trap "" INT TERM; "$SERVERS/watch.sh" "$dir" </dev/null; exit $status' EXIT
trap 'exit 130' INT TERM HUP
setsid "$SERVERS/watch.sh" "$dir" $$ </dev/null >/dev/null 2>&1 &
: >"$dir/results"

say "two PostgreSQL servers, fsync on"
conf=("shared_buffers = 512MB" "max_wal_size = 8GB" "checkpoint_timeout = 15min" "autovacuum_naptime = 1h" "maintenance_work_mem = 512MB")
source_port=$(free_port); "$SERVERS/pg.sh" start "$dir/source" "$source_port" "${conf[@]}"
target_port=$(free_port); "$SERVERS/pg.sh" start "$dir/target" "$target_port" "${conf[@]}"
SOURCE="host=127.0.0.1 port=$source_port user=postgres dbname=bench" TARGET="host=127.0.0.1 port=$target_port user=postgres dbname=bench"
psql -Xq -d "${SOURCE/dbname=bench/dbname=postgres}" -c "create database bench"
psql -Xq -d "${TARGET/dbname=bench/dbname=postgres}" -c "create database bench"
for part in ${BENCH:-capture apply mapping tpcb latency memory copy kill huge beside kafka kafkacopy}; do
  "part_$part"
done
report >"$ROOT/BENCHMARKS.md"
say "written: BENCHMARKS.md"
cat "$ROOT/BENCHMARKS.md"
