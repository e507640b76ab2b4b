# Sourced by run.sh: from the source's UPDATE statement, which writes clock_timestamp() into the row, to the target's commit: there a deferred
# constraint trigger, ENABLE ALWAYS, logs clock_timestamp() minus that as the transaction commits.
LATENCY_TABLE="create table lat (id bigint primary key, balance bigint not null, filler text not null, t timestamptz not null)"
LATENCY_ROWS="insert into lat select g, 0, rpad(md5(g::text), 100, 'x'), now() from generate_series(1, 100000) g"

latency_tables() { # once
  [ -z "$(src -c "select to_regclass('lat')")" ] || return 0
  src -c "$LATENCY_TABLE" -c "$LATENCY_ROWS" -c "create publication lat_pub for table lat" -c "vacuum analyze lat"
  tgt -c "create unlogged table latlog (at timestamptz, ms float8)" -c "create function latlog() returns trigger language plpgsql as \$\$ begin
    insert into public.latlog values (new.t, extract(epoch from clock_timestamp() - new.t) * 1000); return null; end \$\$"
  printf '%s\n' '\set id random(1, 100000)' "update lat set balance = balance + 1, t = clock_timestamp() where id = :id;" >"$dir/lat.sql"
}
part_latency() {
  say "latency at ${RATE:=1000} transactions a second"
  latency_tables
  fresh_lat; tgt -c "set client_min_messages = error" -c "create subscription lat connection '$SOURCE' publication lat_pub with (copy_data = false)"
  drive native
  tgt -c "set client_min_messages = error" -c "drop subscription lat"
  follow "tablelift, local log" 'kind = "local"'
  case " ${BENCH:-kafka} " in *" kafka "*) start_broker; WARM_UP=60 follow "tablelift through Kafka" "$(kafka_log lat)";; esac
}
fresh_lat() {
  tgt -c "set client_min_messages = error; drop table if exists lat" -c "$LATENCY_TABLE" -c "$LATENCY_ROWS" -c "vacuum analyze lat"
  tgt -c "create constraint trigger latlog after insert or update on lat deferrable initially deferred for each row execute function latlog()" \
    -c "alter table lat enable always trigger latlog" -c "truncate latlog"
}
follow() { # WHO, LOG LINES
  fresh_lat; free_slot ours; src -c "select pg_create_logical_replication_slot('ours', 'pgoutput')" >/dev/null
  connector bench-lat lat_pub "$2" $'[[table]]\nsource = "public.lat"'
  "$built/tablelift" -q run "$dir/bench-lat.toml" --no-copy >"$dir/out" 2>&1 & local pid=$!
  "$built/tablelift" -q wait "$dir/bench-lat.toml" --lsn current --timeout 60s >/dev/null || { cat "$dir/out" >&2; die "it does not follow"; }
  drive "$1" "$pid"
  kill "$pid"; wait "$pid" || true; free_slot ours
}
drive() { # WHO [PID]
  # a broker's Java code is slow until it was compiled
  local memory="" seconds=${SECONDS_OF_LATENCY:-30} before=${WARM_UP:-10}
  pgbench -n -M prepared -f "$dir/lat.sql" -c 4 -j 1 -R "$RATE" -T $((seconds + before)) -h 127.0.0.1 -p "$source_port" -U postgres bench >"$dir/pgbench.out" 2>&1
  [ -z "${2:-}" ] || memory="; peak RSS $(awk '/^VmHWM/ {printf "%.0f", $2 / 1024}' "/proc/$2/status") MiB"
  sleep 2
  note "commit to visible, $RATE tx/s" "$1" "$(lat_spread "at > (select max(at) from latlog) - interval '$seconds s'")" "ms: p50 / p95 / p99 / max" \
    "last $seconds s of $((seconds + before)); pgbench itself $(awk '/^latency average/ {print $4}' "$dir/pgbench.out") ms, $(awk '/^tps/ {printf "%.0f", $3}' "$dir/pgbench.out") tps$memory"
}
lat_spread() { # CONDITION
  tgt -c "with w as (select ms from latlog where $1)
    select concat_ws(' / ', round(percentile_cont(0.5) within group (order by ms)::numeric, 1), round(percentile_cont(0.95) within group (order by ms)::numeric, 1),
      round(percentile_cont(0.99) within group (order by ms)::numeric, 1), round(max(ms)::numeric, 1)) from w"
}
