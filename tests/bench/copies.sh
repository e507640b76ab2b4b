# Sourced by run.sh: first copies in hard times: a SIGKILL in the middle, huge rows, traffic beside, and through Kafka beside Debezium.

fill_first() { # ROWS: of the source's table `first`
  [ "$(src -c "select case when to_regclass('first') is not null then (select count(*) from first) else 0 end" 2>/dev/null)" != "$1" ] || return 0
  say "table of $1 rows"
  src -c "set client_min_messages = error; drop table if exists first" -c "$FIRST" \
    -c "insert into first select g, g % 100, g * 7, rpad(md5(g::text), 84, 'x') from generate_series(1, $1) g" \
    -c "alter table first add primary key (id)" -c "vacuum analyze first"
}

part_kill() { # what a SIGKILL at 50 % costs
  local rows=${KILL_ROWS:-20000000} round straight=() killed=() lost pid half started
  fill_first "$rows"
  for round in $(seq "$RUNS"); do
    fresh_first none; copy_first; straight+=("$took")
    fresh_first none; first_connector; started=$(now)
    "$built/tablelift" -q run "$dir/bench-copy.toml" --endpos current >"$dir/out" 2>&1 & pid=$!
    until half=$(tgt -c "select coalesce(sum(rows), 0) >= $rows / 2 from tablelift.copy_range" 2>/dev/null) && [ "$half" = t ]; do sleep 0.05; done
    kill -9 "$pid"; wait "$pid" 2>/dev/null || true
    ours run bench-copy --endpos current; killed+=("$(since "$started")"); must_equal "$FIRST_SUM"
  done
  lost=$(awk -v a="$(median "${straight[@]}")" -v b="$(median "${killed[@]}")" 'BEGIN {printf "%.2f", b - a}')
  note "first copy, $rows rows" "tablelift, local log" "$(spread "${straight[@]}")" s "undisturbed"
  note "the same, SIGKILL at 50 %, started again at once" "tablelift, local log" "$(spread "${killed[@]}")" s \
    "lost: $lost s, **$(awk -v a="$(median "${straight[@]}")" -v b="$lost" 'BEGIN {printf "%.1f", 100 * b / a}') %**; checksums equal"
  forget_slot
}

part_sigkills() { # fifty in one copy, in each log, while rows change, come, go and move
  local log nth pid load rows=${SIGKILL_ROWS:-3000000} before recorded copied
  cat >"$dir/storm.sql" <<'SQL'
\set id random(1, 3000000)
\set far random(10000000, 2000000000)
begin;
update first set balance = balance + 1 where id = :id;
insert into first values (:far, 1, 1, 'came') on conflict do nothing;
delete from first where id = :id + 1 and id % 4 = 0;
update first set id = id + 2000000000 where id = :id + 2 and id % 8 = 0;
end;
SQL
  for log in ${SIGKILL_LOGS:-local kafka}; do
    say "fifty SIGKILLs in a copy of $rows rows under pgbench, $log log"
    src -c "drop table if exists first"; fill_first "$rows"; fresh_first keyed; forget_slot
    [ $log = local ] || start_broker
    connector bench-copy bench_copy "$([ $log = local ] && echo 'kind = "local"' || kafka_log sigkills)" $'[copy]\nmax_rows_per_second = 20000\n[[table]]\nsource = "public.first"'
    sed -i '/^slot = /d; /^publication = /d' "$dir/bench-copy.toml"
    pgbench -n -M prepared -f "$dir/storm.sql" -c 2 -j 1 -R 200 -T 3600 -h 127.0.0.1 -p "$source_port" -U postgres bench >"$dir/pgbench.out" 2>&1 & load=$!
    recorded="select coalesce((select sum(rows) from tablelift.copy_range), 0)"; before=0
    for nth in $(seq 50); do
      "$built/tablelift" -q run "$dir/bench-copy.toml" >"$dir/out" 2>&1 & pid=$!
      until copied=$(tgt -c "$recorded" 2>/dev/null) && [ "$copied" -gt "$before" ]; do kill -0 $pid || { cat "$dir/out" >&2; die "it ended"; }; sleep 0.05; done
      sleep "0.$((RANDOM % 10))"
      kill -9 "$pid"; wait "$pid" 2>/dev/null || true; before=$(tgt -c "$recorded")
      [ "$(tgt -c "select state from tablelift.table_state")" = copy ] || die "the copy was over after $nth SIGKILLs: more rows (SIGKILL_ROWS)"
    done
    sed -i '/^max_rows/d' "$dir/bench-copy.toml"
    "$built/tablelift" -q run "$dir/bench-copy.toml" >"$dir/out" 2>&1 & pid=$!
    until [ "$(tgt -c "select state from tablelift.table_state")" = follow ]; do sleep 0.5; done
    kill "$load"; wait "$load" 2>/dev/null || true
    "$built/tablelift" -q wait "$dir/bench-copy.toml" --lsn current --timeout 300s || die "it does not catch up"
    must_equal "$FIRST_SUM"; kill "$pid"; wait "$pid" || true
    note "50 SIGKILLs in one first copy under pgbench" "tablelift, $log log" "$(tgt -c "select count(*) from first")" rows \
      "checksums equal; $before rows were recorded at the last of them, $(tgt -c "select rows_copied from tablelift.table_state") were copied in all"
  done
  forget_slot; src -c "drop table first"
}

HUGE="create table huge (id int primary key, v text)"
HUGE_SUM="select count(*), sum(hashtextextended(v, id)) from huge"
part_huge() { # rows of 50 MB
  local log mb=50
  say "20 rows of $mb MB"
  src -c "$HUGE" -c "alter table huge alter v set storage external" \
    -c "with long as (select string_agg(md5(g::text), '') as v from generate_series(1, $mb * 31250) as g)
        insert into huge select g, g || v from generate_series(1, 20) g, long"
  for log in ${HUGE_LOGS:-local kafka}; do
    # our largest message is 16 MiB
    [ $log = local ] || { start_broker; mb=15; src -c "update huge set v = left(v, $mb * 1000000)" -c "vacuum full huge"; }
    tgt -c "set client_min_messages = error; drop table if exists huge" -c "$HUGE"; calm
    free_slot tablelift_bench_huge; src -c "set client_min_messages = error; drop publication if exists tablelift_bench_huge"
    connector bench-huge bench_huge "$(if [ $log = local ]; then echo 'kind = "local"'; else kafka_log huge; fi)" $'[[table]]\nsource = "public.huge"'
    sed -i '/^slot = /d; /^publication = /d' "$dir/bench-huge.toml"
    ours run bench-huge --endpos current; must_equal "$HUGE_SUM"
    note "first copy, rows of $mb MB" "tablelift, $log log" "$peak" "MiB, peak" "two workers; at most $((100 + 4 * mb)) wanted; $took s; checksums equal"
  done
  free_slot tablelift_bench_huge; src -c "drop publication tablelift_bench_huge"
}

part_beside() { # traffic beside a copy at full speed: how late its changes are
  local rows=${BESIDE_ROWS:-5000000} pid load from to
  fill_first "$rows"; RATE=${RATE:-1000}; latency_tables
  # the table that is in use follows already when the other one is added
  local open="select count(*) from tablelift.table_state where state <> 'follow' or lacks_from is not null"
  fresh_lat; tgt -c "truncate lat"; fresh_first none; first_connector; sed -i 's/public.first/public.lat/' "$dir/bench-copy.toml"
  "$built/tablelift" -q run "$dir/bench-copy.toml" >"$dir/out" 2>&1 & pid=$!
  until [ "$(tgt -c "select exists (select from tablelift.table_state) and ($open) = 0" 2>/dev/null)" = t ]; do sleep 0.1; done
  pgbench -n -M prepared -f "$dir/lat.sql" -c 4 -j 1 -R "$RATE" -T 60 -h 127.0.0.1 -p "$source_port" -U postgres bench >"$dir/pgbench.out" 2>&1 & load=$!
  sleep 10
  from=$(src -c "select clock_timestamp()")
  printf '\n[[table]]\nsource = "public.first"\n' >>"$dir/bench-copy.toml"; kill -HUP "$pid"
  until [ "$(tgt -c "select count(*) from tablelift.table_state")" = 2 ]; do sleep 0.02; done
  until [ "$(tgt -c "$open")" = 0 ]; do sleep 0.1; done
  to=$(src -c "select clock_timestamp()")
  wait "$load"; "$built/tablelift" -q wait "$dir/bench-copy.toml" --lsn current --timeout 60s >/dev/null
  must_equal "$FIRST_SUM"; must_equal "select count(*), sum(balance) from lat"; kill "$pid"; wait "$pid" || true
  note "commit to visible, $RATE tx/s beside a first copy" "tablelift, local log" \
    "$(lat_spread "at between '$from' and '$to'")" "ms: p50 / p95 / p99 / max" \
    "while $rows rows are copied ($(src -c "select round(extract(epoch from '$to'::timestamptz - '$from'::timestamptz), 1)") s, what waited for the key included); pgbench itself $(awk '/^latency average/ {print $4}' "$dir/pgbench.out") ms"
  forget_slot
}

part_kafkacopy() { # through Kafka, beside Debezium's snapshot and JDBC sink
  local rows=${KAFKA_ROWS:-1000000} round mine=() first="" n=0 limit took
  fill_first "$rows"; start_broker
  for round in $(seq "$RUNS"); do
    fresh_first keyed; free_slot tablelift_bench_copy; forget_slot
    connector bench-copy bench_copy "$(kafka_log "copy$round")" $'[[table]]\nsource = "public.first"'; sed -i '/^slot = /d; /^publication = /d' "$dir/bench-copy.toml"
    ours run bench-copy --endpos current; must_equal "$FIRST_SUM"; mine+=("$(rate "$rows" "$took")")
  done
  forget_slot
  note "first copy through Kafka, key present" tablelift "$(spread "${mine[@]}")" rows/s "$rows rows, from start to stop; peak RSS $peak MiB; checksums equal"
  [ -d "$peers_lib/source" ] && [ -d "$peers_lib/sink" ] && [ -d "$peers_lib/connect" ] || return 0
  say "Debezium's snapshot and its JDBC sink"
  fresh_first keyed; src -c "create publication first_pub for table first" -c "select pg_create_logical_replication_slot('dbz', 'pgoutput')" >/dev/null
  local peer=snapshot peer_table=first peer_publication=first_pub peer_snapshot=initial pid source sink
  local seen="select coalesce(n_tup_ins, 0) from pg_stat_user_tables where relname = 'first' and schemaname = 'public'"
  limit=$((SECONDS + 400))
  start_worker source; source=$pid; watch_peak "$source" "$dir/peak.source" &
  start_worker sink; sink=$pid; watch_peak "$sink" "$dir/peak.sink" &
  until [ "$(tgt -c "select count(*) from first")" = "$rows" ]; do
    n=$(tgt -c "$seen")
    if [ -z "$first" ] && [ "${n:-0}" -gt 0 ]; then first=$(now); fi
    if [ $SECONDS -gt $limit ] || ! kill -0 "$source" "$sink" 2>/dev/null; then tail -5 "$dir"/connect/*.out >&2; break; fi
    sleep 0.5
  done
  took=$(since "${first:-$(now)}"); local all verdict; all=$(tgt -c "select count(*) from first"); verdict=$(verdict "$FIRST_SUM")
  kill "$source" "$sink"; wait "$source" "$sink" 2>/dev/null || true; free_slot dbz; src -c "drop publication first_pub"
  note "first copy through Kafka, key present" "Debezium + JDBC sink" "$(rate "$all" "$took")" rows/s \
    "**we: $(awk -v a="$(median "${mine[@]}")" -v b="$(rate "$all" "$took")" 'BEGIN {printf "%.1f", a / b}') x**; \`snapshot.mode=initial\`, unwrapped, counted from its first row; peak RSS $(cat "$dir/peak.source") + $(cat "$dir/peak.sink") MiB; $verdict"
}
