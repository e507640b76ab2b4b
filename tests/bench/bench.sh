# Sourced by run.sh: measuring, and what is measured.
say() { printf '\n== %s\n' "$*"; }
src() { psql -XqAt -v ON_ERROR_STOP=1 -d "$SOURCE" "$@"; }
tgt() { psql -XqAt -v ON_ERROR_STOP=1 -d "$TARGET" "$@"; }
now() { date +%s.%N; }
since() { awk -v a="$1" -v b="$(now)" 'BEGIN {printf "%.2f", b - a}'; }
rate() { awk -v n="$1" -v s="$2" 'BEGIN {printf "%.0f", n / s}'; }
median() { printf '%s\n' "$@" | sort -g | awk '{v[NR] = $1} END {print v[int((NR + 1) / 2)]}'; }
spread() { printf '%s\n' "$@" | sort -g | awk '{v[NR] = $1} END {print (NR == 1) ? v[1] : v[1] " / " v[int((NR + 1) / 2)] " / " v[NR]}'; }
calm() { src -c checkpoint; tgt -c checkpoint; sync; sleep 1; }
# What a process took, while it lives: its peak memory in MiB, in a file that holds the last look.
watch_peak() { # PID FILE
  while kill -0 "$1" 2>/dev/null; do
    awk '/^VmHWM/ {printf "%.0f\n", $2 / 1024}' "/proc/$1/status" 2>/dev/null >"$2.new" && [ -s "$2.new" ] && mv "$2.new" "$2"
    sleep 0.1
  done
}
# One line of the report: work | who | figure | unit | what else
note() { printf '%s|%s|%s|%s|%s\n' "$@" | tee -a "$dir/results" | tr '|' '\t'; }

# 1.3 million changes behind slot `base`, publication `bench_pub`: a million inserts of about 120 bytes and 300,000 updates of random
# rows, 100 to a transaction. Each run copies the slot, so the same WAL is read again.
CHANGES=1300000
TABLE="create table acc (id bigint primary key, balance bigint not null, filler text not null)"
backlog() {
  [ -z "$(src -c "select 1 from pg_replication_slots where slot_name = 'base'")" ] || return 0
  say "backlog: $CHANGES changes"
  src -c "$TABLE" -c "create publication bench_pub for table acc" -c "select pg_create_logical_replication_slot('base', 'pgoutput')" >/dev/null
  src >/dev/null <<'SQL'
set synchronous_commit = off;
do $$ begin
  for i in 0..9999 loop
    insert into acc select g, 0, rpad(md5(g::text), 100, 'x') from generate_series(i * 100 + 1, i * 100 + 100) g;
    commit;
  end loop;
  for i in 0..2999 loop
    update acc set balance = balance + 1, filler = rpad(md5(i::text), 100, 'y')
      where id in (select 1 + ((i * 100 + g) * 7368787::bigint) % 1000000 from generate_series(1, 100) g);
    commit;
  end loop;
end $$;
SQL
  end_here; backlog_end=$end
  src -c "vacuum analyze acc"
}
# Sets `end`: everything so far is below it and on disk, and something comes after it, so that whoever reads up to it gets there.
end_here() {
  src -c "select pg_logical_emit_message(true, 'bench', 'flushed')" >/dev/null
  end=$(src -c "select pg_current_wal_flush_lsn()")
  src -c "select pg_logical_emit_message(true, 'bench', 'end')" >/dev/null
}
ACC="select count(*), sum(balance), sum(hashtextextended(filler, id)) from acc"
verdict() { if [ "$(src -c "$1")" = "$(tgt -c "$1")" ]; then echo "checksums equal"; else echo "**CHECKSUMS DIFFER**"; fi; }
must_equal() { [ "$(src -c "$1")" = "$(tgt -c "$1")" ] || die "source and target differ: $1"; }

free_slot() { # drops it as soon as its walsender is gone
  local _
  for _ in $(seq 50); do
    src -c "select pg_drop_replication_slot(slot_name) from pg_replication_slots where slot_name = '$1' and not active" >/dev/null
    [ -n "$(src -c "select 1 from pg_replication_slots where slot_name = '$1'")" ] || return 0
    sleep 0.2
  done
  die "slot \`$1\` stays in use"
}
copy_slot() { free_slot "$2"; src -c "select pg_copy_logical_replication_slot('$1', '$2')" >/dev/null; }

# A connector file of ours that adopts slot `ours` and a publication. Forgets what an earlier one knew.
connector() { # NAME, PUBLICATION, LOG LINES, TABLES
  tgt -c "set client_min_messages = error; drop schema if exists tablelift cascade"
  cat >"$dir/$1.toml" <<T
name = "$1"
[source]
url = "postgres://postgres@127.0.0.1:$source_port/bench"
slot = "ours"
publication = "$2"
[target]
url = "postgres://postgres@127.0.0.1:$target_port/bench"
[log]
$3
[http]
listen = "off"
$4
T
}
# Runs a command of ours to its end: seconds in `took`, peak memory in MiB in `peak`.
ours() { # COMMAND NAME OPTIONS...
  local started; started=$(now)
  "$built/tablelift" -q "$1" "$dir/$2.toml" "${@:3}" >"$dir/out" 2>&1 & local pid=$!
  watch_peak "$pid" "$dir/peak" & local watcher=$!
  wait "$pid" || { cat "$dir/out" >&2; die "tablelift $1 ended with an error"; }
  took=$(since "$started"); wait "$watcher" || true; peak=$(cat "$dir/peak")
}

report() {
  cat <<R
# Benchmarks

By \`make bench\` on $(date -u +%Y-%m-%d), $(git -C "$ROOT" describe --always --dirty 2>/dev/null || echo "no commit"). $(nproc) cores ($(awk -F': ' '/model name/ {print $2; exit}' /proc/cpuinfo)),
$(awk '/MemTotal/ {printf "%.0f GiB", $2 / 1048576}' /proc/meminfo), $("$PGBIN/postgres" --version), fsync on. Databases, broker, tablelift and load share these cores, over loopback.
Where three figures stand they are min / median / max of $RUNS runs, taken in turns. Only ratios within this run carry over to another machine.

| work | who | figure | unit | |
| --- | --- | --- | --- | --- |
R
  awk -F '|' '{printf "| %s | %s | %s | %s | %s |\n", $1, $2, $3, $4, $5}' "$dir/results"
}
