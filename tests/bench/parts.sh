# Sourced by run.sh: the parts. Each takes turns between us and the others, so that a noisy moment hits both.

part_capture() { # a backlog into nothing: what reading and decoding take, here and at 50 ms
  backlog
  local round theirs=() mine=() far_theirs=() far_mine=() what="" far_port started
  far_port=$(free_port)
  "$built/examples/delay" "$far_port" "$source_port" 50 & local delay=$!
  for round in $(seq "$RUNS"); do
    copy_slot base cap; started=$(now); recvlogical "$source_port"; theirs+=("$(rate $CHANGES "$(since "$started")")")
    copy_slot base cap; what=$(null "$source_port"); mine+=("${what%% *}")
    copy_slot base cap; started=$(now); recvlogical "$far_port"; far_theirs+=("$(rate $CHANGES "$(since "$started")")")
    copy_slot base cap; far_mine+=("$(null "$far_port" | cut -d' ' -f1)")
  done
  kill "$delay"; free_slot cap
  note "capture to nothing" pg_recvlogical "$(spread "${theirs[@]}")" changes/s "to /dev/null, nothing decoded"
  note "capture to nothing" tablelift "$(spread "${mine[@]}")" changes/s "$(ratio mine theirs); ${what#*; }"
  note "the same, 50 ms round trip" pg_recvlogical "$(spread "${far_theirs[@]}")" changes/s ""
  note "the same, 50 ms round trip" tablelift "$(spread "${far_mine[@]}")" changes/s "$(ratio far_mine far_theirs)"
}
recvlogical() { # PORT
  "$PGBIN/pg_recvlogical" -d "host=127.0.0.1 port=$1 user=postgres dbname=bench" --slot cap --start -o proto_version=1 \
    -o publication_names=bench_pub --endpos "$backlog_end" --no-loop -f /dev/null
}
null() { "$built/examples/capture_null" "127.0.0.1:$1" postgres bench cap bench_pub "$backlog_end"; }
ratio() { # two arrays: ours in times of theirs, by medians
  local -n a=$1 b=$2
  awk -v a="$(median "${a[@]}")" -v b="$(median "${b[@]}")" 'BEGIN {printf "**%.2f x**", a / b}'
}

fresh_acc() { tgt -c "set client_min_messages = error; drop table if exists acc" -c "$TABLE"; calm; }
# Native replication from a copied slot to its end: seconds in `took`.
native() { # BASE SLOT, PUBLICATION, END
  copy_slot "$1" nat; local started; started=$(now)
  tgt -c "set client_min_messages = error" -c "create subscription nat connection '$SOURCE' publication $2 with (create_slot = false, slot_name = nat, copy_data = false)"
  until [ "$(src -c "select coalesce(bool_or(r.replay_lsn >= '$3'), false) from pg_stat_replication r join pg_replication_slots s on s.active_pid = r.pid where s.slot_name = 'nat'")" = t ]; do sleep 0.05; done
  took=$(since "$started")
  tgt -c "set client_min_messages = error" -c "alter subscription nat disable" -c "alter subscription nat set (slot_name = none)" -c "drop subscription nat"
  free_slot nat
}

part_apply() { # the same backlog, from source to target
  backlog
  local round theirs=() mine=()
  for round in $(seq "$RUNS"); do
    fresh_acc; native base bench_pub "$backlog_end"; must_equal "$ACC"; theirs+=("$(rate $CHANGES "$took")")
    fresh_acc; copy_slot base ours; connector bench-local bench_pub 'kind = "local"' $'[[table]]\nsource = "public.acc"'
    ours run bench-local --no-copy --endpos "$backlog_end"; mine+=("$(rate $CHANGES "$took")"); must_equal "$ACC"
  done
  note "source to target" native "$(spread "${theirs[@]}")" changes/s "one apply worker"
  note "source to target" "tablelift, local log" "$(spread "${mine[@]}")" changes/s "$(ratio mine theirs); peak RSS $peak MiB; checksums equal"
  free_slot ours
}

TPCB="select count(*), sum(hashtextextended(t::text, 0)::numeric) from"
part_tpcb() { # hot rows: pgbench's TPC-B, 60,000 transactions of four changes
  say "backlog: TPC-B"
  local tables="pgbench_accounts pgbench_branches pgbench_tellers pgbench_history" table round theirs=() mine=() changes=240000 end
  pgbench -h 127.0.0.1 -p "$source_port" -U postgres -i -s 10 -q bench >/dev/null 2>&1
  pg_dump -d "$SOURCE" -t 'pgbench_*' >"$dir/tpcb.sql"
  src -c "create publication tpcb_pub for table pgbench_accounts, pgbench_branches, pgbench_tellers" \
    -c "create publication tpcb_pub_inserts for table pgbench_history with (publish = 'insert, truncate')" -c "select pg_create_logical_replication_slot('tpcb', 'pgoutput')" >/dev/null
  PGOPTIONS="-c synchronous_commit=off" pgbench -h 127.0.0.1 -p "$source_port" -U postgres -n -M prepared -c 4 -j 1 -t 15000 bench >/dev/null 2>&1
  end_here
  local entries; entries=$(for table in $tables; do printf '[[table]]\nsource = "public.%s"\n' "$table"; [ "$table" != pgbench_history ] || echo "insert_only = true"; done)
  for round in $(seq "$RUNS"); do
    fresh_tpcb; native tpcb "tpcb_pub, tpcb_pub_inserts" "$end"; tpcb_equal; theirs+=("$(rate $changes "$took")")
    fresh_tpcb; copy_slot tpcb ours; connector bench-tpcb tpcb_pub 'kind = "local"' "$entries"
    ours run bench-tpcb --no-copy --endpos "$end"; mine+=("$(rate $changes "$took")"); tpcb_equal
  done
  note "source to target, TPC-B" native "$(spread "${theirs[@]}")" changes/s "hot rows"
  note "source to target, TPC-B" "tablelift, local log" "$(spread "${mine[@]}")" changes/s "$(ratio mine theirs); peak RSS $peak MiB; checksums equal"
  free_slot ours; free_slot tpcb
}
fresh_tpcb() { tgt -c "set client_min_messages = error; drop table if exists pgbench_accounts, pgbench_branches, pgbench_tellers, pgbench_history"; tgt -f "$dir/tpcb.sql" >/dev/null; calm; }
tpcb_equal() { local table; for table in accounts branches tellers history; do must_equal "$TPCB pgbench_$table t"; done; }

part_memory() { # one transaction of two million rows
  say "one transaction of 2,000,000 rows"
  src -c "create table big (id bigint primary key, v text)" -c "create publication big_pub for table big" -c "select pg_create_logical_replication_slot('big', 'pgoutput')" >/dev/null
  src -c "insert into big select g, rpad(md5(g::text), 100, 'x') from generate_series(1, 2000000) g"
  local end; end_here
  tgt -c "create table big (id bigint primary key, v text)"; calm
  copy_slot big ours; connector bench-big big_pub 'kind = "local"' $'[[table]]\nsource = "public.big"'
  ours run bench-big --no-copy --endpos "$end"; must_equal "select count(*), sum(hashtextextended(v, id)) from big"
  note "one transaction of 2 M rows" "tablelift, local log" "$peak" "MiB, peak" "$(rate 2000000 "$took") changes/s"
  free_slot ours; free_slot big
}

kafka_log() { printf 'kind = "kafka"\nbrokers = "127.0.0.1:%s"\nreplication_factor = 1\ntopic_prefix = "%s"' "$broker_port" "$1"; }
start_broker() {
  [ -z "${broker_port:-}" ] || return 0
  "$SERVERS/packages.sh" kafka
  broker_port=$(free_port); BROKER=bench "$SERVERS/kafka.sh" start "$dir/kafka" "$broker_port"
}
part_kafka() { # the backlog into topics, and through them to the target
  backlog; start_broker
  local round captured=() through=() most=0
  for round in $(seq "$RUNS"); do
    fresh_acc; copy_slot base ours; connector bench-kafka bench_pub "$(kafka_log "capture$round")" $'[[table]]\nsource = "public.acc"'
    ours capture bench-kafka --no-copy --endpos "$backlog_end"; captured+=("$(rate $CHANGES "$took")"); [ "$peak" -le "$most" ] || most=$peak
  done
  note "capture to Kafka" tablelift "$(spread "${captured[@]}")" changes/s "peak RSS $most MiB"
  for round in $(seq "$RUNS"); do
    fresh_acc; copy_slot base ours; connector bench-kafka bench_pub "$(kafka_log "run$round")" $'[[table]]\nsource = "public.acc"'
    ours run bench-kafka --no-copy --endpos "$backlog_end"; through+=("$(rate $CHANGES "$took")"); must_equal "$ACC"
  done
  note "source to target through Kafka" tablelift "$(spread "${through[@]}")" changes/s "peak RSS $peak MiB; checksums equal"
  free_slot ours
  peers_kafka "$(median "${captured[@]}")" "$(median "${through[@]}")"
}

FIRST="create table first (id bigint not null, bid int not null, balance bigint not null, filler text not null)"
FIRST_SUM="select count(*), sum(balance), sum(hashtextextended(filler, id)) from first"
part_copy() { # a first copy of five million rows, beside psql's COPY from one to the other, and pgcopydb where it is found
  local rows=5000000 round keyed=() after=() mine=() mine_after=() peer=() started most=0
  say "first copy: $rows rows"
  fill_first $rows
  for round in $(seq "$RUNS"); do
    fresh_first keyed; started=$(now); pipe_first; keyed+=("$(rate $rows "$(since "$started")")")
    fresh_first keyed; copy_first; mine+=("$(rate $rows "$took")")
    fresh_first; started=$(now); pipe_first; key_first; after+=("$(rate $rows "$(since "$started")")")
    fresh_first none; copy_first; mine_after+=("$(rate $rows "$took")"); [ "$peak" -le "$most" ] || most=$peak
    if command -v pgcopydb >/dev/null; then
      fresh_first none; started=$(now); pgcopydb_first; peer+=("$(rate $rows "$(since "$started")")"); must_equal "$FIRST_SUM"
    fi
  done
  forget_slot
  local ours="two workers, from start to stop, changes followed"
  note "first copy, key present" "a pipe of two psql, binary COPY" "$(spread "${keyed[@]}")" rows/s "5 M rows of about 130 bytes"
  note "first copy, key present" "tablelift, local log" "$(spread "${mine[@]}")" rows/s "$(ratio mine keyed); $ours; checksums equal"
  note "first copy, key built after" "a pipe of two psql, binary COPY" "$(spread "${after[@]}")" rows/s "nothing analyzed"
  note "first copy, key built after" "tablelift, local log" "$(spread "${mine_after[@]}")" rows/s "$(ratio mine_after after); table made, and analyzed; $ours; peak RSS $most MiB; checksums equal"
  [ ${#peer[@]} = 0 ] || note "first copy, key built after" pgcopydb "$(spread "${peer[@]}")" rows/s "**we: $(ratio mine_after peer | tr -d '*')**; $(pgcopydb --version 2>/dev/null | sed -n 's/.*version \([0-9.]*\).*/\1/p;q'), one table job (its best here); table made, and analyzed"
}
fresh_first() { # the target's table without its key, with it (keyed), or none
  tgt -c "set client_min_messages = error; drop table if exists first"
  [ "${1:-}" = none ] || tgt -c "$FIRST"
  [ "${1:-}" != keyed ] || key_first
  calm
}
key_first() { tgt -c "alter table first add primary key (id)"; }
first_connector() { # MORE TABLES: of our own slot and publication; the tables are made where they are missing
  forget_slot; connector bench-copy bench_copy 'kind = "local"' $'[[table]]\nsource = "public.first"'"${1:-}"
  sed -i '/^slot = /d; /^publication = /d; s/^\[target\]/&\ncreate = "missing"/' "$dir/bench-copy.toml"
}
copy_first() {
  first_connector
  ours run bench-copy --endpos current; must_equal "$FIRST_SUM"
}
pipe_first() { src -c "copy first to stdout (format binary)" | tgt -c "copy first from stdin (format binary)"; }
forget_slot() { free_slot tablelift_bench_copy; src -c "set client_min_messages = error; drop publication if exists tablelift_bench_copy"; }
