# Sourced by run.sh: the parts of the story. They use its variables: dir, config, log, tablelift, legacy, service.
say() { printf '\n\033[1m== %s\033[0m\n' "$*" | if [ -t 1 ]; then cat; else sed 's/\x1b\[[0-9]*m//g'; fi; }
alive() { kill -0 "$1" 2>/dev/null; }

make_service_tables() {
  service <<'SQL'
create schema service;
create table service.account (account_id int primary key, branch_id int not null, balance_cents bigint not null, overdrawn boolean not null);
create table public.pgbench_branches (bid int primary key, bbalance int, filler char(88));
create table public.pgbench_tellers (tid int primary key, bid int, tbalance int, filler char(84));
create table public.pgbench_history (tid int, bid int, aid int, delta int, mtime timestamp, filler char(22));
SQL
}

connector_file() { # the one in connectors/, with the other log where it was asked for
  if [ "$log" = local ]; then cat "$ROOT/connectors/demo-pgbench.toml"; return; fi
  sed "s/^kind = \"local\"/kind = \"kafka\"\nbrokers = \"127.0.0.1:$broker_port\"\nreplication_factor = 1/" "$ROOT/connectors/demo-pgbench.toml"
}

kills=0
run_daemon() { "$tablelift" run "$config" & daemon=$!; }
kill_daemon() { kill -9 "$daemon"; wait "$daemon" 2>/dev/null || true; kills=$((kills + 1)); }
stop_daemon() { # in order: its status must be 0
  local status=0
  kill -TERM "$daemon"; wait "$daemon" || status=$?
  [ $status = 0 ] || die "the daemon's exit status is $status after SIGTERM"
}

status() { "$tablelift" status "$config" --json 2>/dev/null | tr -d ' \n'; }
number() { { grep -oE "\"$1\":[0-9.]+" || echo :-; } | head -1 | cut -d: -f2; }   # the first field of that name; - where it is null
copied() { status | grep -oE '"rows_copied":[0-9]+' | cut -d: -f2 | awk '{s += $1} END {print s + 0}'; }
await() { # SECONDS, what, command...: asks until it says yes, while the daemon lives
  local limit=$((SECONDS + $1)) what=$2; shift 2
  until "$@"; do
    alive "$daemon" || die "the daemon ended by itself while we waited: $what"
    [ $SECONDS -lt $limit ] || die "took too long: $what"
    sleep 0.1
  done
}
# Four seconds at most: on a fast machine, or through the broker, the copy may be over before anybody has seen it.
copied_or_following() { [ "$(copied)" -ge "$1" ] || [ $((SECONDS - begun)) -ge 4 ] || following; }
following() { status | grep -qE '"phase":"follow"'; }
await_copy() { local begun=$SECONDS; await 60 "the copy" copied_or_following "$1"; }
await_follow() { await 120 "the end of the copy" following; }

lag_lines() { # how many, one a second
  local i now
  for i in $(seq "$1"); do
    sleep 1
    now=$(status)
    printf '   %s  lag now %s ms, p99 %s ms; WAL held for us %s bytes; journal rows: legacy %s, service %s\n' \
      "$(date +%T)" "$(number now <<<"$now")" "$(number p99 <<<"$now")" "$(number retained_wal_bytes <<<"$now")" \
      "$(legacy -c 'select count(*) from pgbench_history')" "$(service -c 'select count(*) from pgbench_history')"
  done
}

# A count, and a sum over a hash of each row's text: the order of the rows does not matter, equal rows do not cancel out.
checksum() { echo "select count(*) || ' ' || coalesce(sum(hashtextextended(t::text, 0)::numeric), 0) from ($1) t"; }
unequal=0 rows=0
compare() { # NAME, query on the legacy side, query on the service's side
  local a b verdict=equal
  a=$(legacy -c "$(checksum "$2")"); b=$(service -c "$(checksum "$3")")
  [ "$a" = "$b" ] || { verdict=DIFFERENT; unequal=$((unequal + 1)); }
  printf '   %-38s %9s %26s | %9s %26s  %s\n' "$1" ${a} ${b} "$verdict"
  rows=$((rows + ${a%% *}))
}
compare_all() {
  printf '   %-38s %9s %26s | %9s %26s\n' "" "legacy" "checksum" "service" "checksum"
  compare "pgbench_accounts -> service.account" "select aid, bid, abalance::bigint * 100, abalance < 0 from pgbench_accounts" \
    "select account_id, branch_id, balance_cents, overdrawn from service.account"
  local table
  for table in branches tellers history; do compare "pgbench_$table" "select * from pgbench_$table" "select * from pgbench_$table"; done
  [ $unequal = 0 ] || die "" "$unequal of 4 tables are NOT equal"
}

tell() { # what happened, in ten lines
  local took=$((SECONDS - started))
  cat <<T

What happened, in $took seconds:
 1. A legacy database with 1,000,000 accounts was in use all the time: $transactions transactions of four changes each.
 2. \`check\` looked at both databases and prepared every statement on the real target before anything was made.
 3. \`prepare\` made a publication, a replication slot and the schema \`tablelift\` in the target. Nothing else was touched.
 4. \`run\` copied four tables while they changed, and then followed every commit$([ "$log" = kafka ] && echo ", through Apache Kafka").
 5. One table arrived under another name and in another shape, by SQL expressions in the connector file.
 6. One table has no key: it is insert-only, and each of its rows arrived once, equal ones too.
 7. The daemon was killed with SIGKILL $kills times, in the middle of the copy and of the stream, and found its place again by itself.
 8. The rows and the place in the stream are one transaction in the target: that is why nothing was lost and nothing came twice.
 9. psql counted and hashed both sides, without tablelift's help: $rows rows, all equal.
10. The servers are stopped and their folder is removed now.

Next: README.md for your own two databases; connectors/demo-pgbench.toml is the file that did this$([ "$log" = local ] && echo "; DEMO_LOG=kafka make demo goes through a broker").
T
}
