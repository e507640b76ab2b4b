# Sourced by run.sh: Debezium's source and JDBC sink, where their jars are found: folders `connect`, `source` and `sink` under
# ${PEERS_HOME:-~/.cache/tablelift-peers}/lib, as Maven's dependency:copy-dependencies makes them. In their fastest variant that was measured:
# the envelope unwrapped in the source, JSON with schemas (the sink needs them), batches of 5,000.
peer_table=acc peer_publication=bench_pub peer_snapshot=no_data # what the connectors read, and from where
peers_lib=${PEERS_HOME:-${XDG_CACHE_HOME:-${HOME:-}/.cache}/tablelift-peers}/lib

worker() { # source|sink, REST PORT: the worker's own settings
  cat <<C
bootstrap.servers=127.0.0.1:$broker_port
key.converter=org.apache.kafka.connect.json.JsonConverter
value.converter=org.apache.kafka.connect.json.JsonConverter
offset.storage.file.filename=$dir/connect/$1.offsets
offset.flush.interval.ms=5000
listeners=http://127.0.0.1:$2
plugin.path=$dir/connect/$1
plugin.discovery=only_scan
producer.linger.ms=5
producer.batch.size=262144
consumer.max.poll.records=5000
consumer.max.partition.fetch.bytes=16777216
consumer.auto.offset.reset=earliest
C
}
debezium_source() {
  cat <<C
name=source
connector.class=io.debezium.connector.postgresql.PostgresConnector
tasks.max=1
database.hostname=127.0.0.1
database.port=$source_port
database.user=postgres
database.password=none
database.dbname=bench
topic.prefix=$peer
topic.creation.default.replication.factor=1
topic.creation.default.partitions=1
table.include.list=public.$peer_table
plugin.name=pgoutput
publication.name=$peer_publication
publication.autocreate.mode=disabled
slot.name=dbz
snapshot.mode=$peer_snapshot
tombstones.on.delete=false
max.batch.size=8192
max.queue.size=65536
poll.interval.ms=10
transforms=flat
transforms.flat.type=io.debezium.transforms.ExtractNewRecordState
C
}
debezium_sink() {
  cat <<C
name=sink
connector.class=io.debezium.connector.jdbc.JdbcSinkConnector
tasks.max=1
topics=$peer.public.$peer_table
connection.url=jdbc:postgresql://127.0.0.1:$target_port/bench?reWriteBatchedInserts=true
connection.username=postgres
connection.password=none
insert.mode=upsert
primary.key.mode=record_key
schema.evolution=none
collection.name.format=$peer_table
batch.size=5000
use.reduction.buffer=true
C
}
start_worker() { # source|sink: its pid in `pid`
  local port classpath; port=$(free_port); classpath=$(printf '%s:' "$peers_lib"/connect/*.jar)
  mkdir -p "$dir/connect/$1"; ln -sfn "$peers_lib/$1" "$dir/connect/$1/$1"
  worker "$1" "$port" >"$dir/connect/$1.worker"; "debezium_$1" >"$dir/connect/$1.connector"
  java -Xmx1g -XX:+UseG1GC -Dorg.slf4j.simpleLogger.defaultLogLevel=error -cp "${classpath%:}" org.apache.kafka.connect.cli.ConnectStandalone \
    "$dir/connect/$1.worker" "$dir/connect/$1.connector" >"$dir/connect/$1.out" 2>&1 </dev/null &
  pid=$!
}
topic_end() { { kcat -Q -b "127.0.0.1:$broker_port" -t "$peer.public.$peer_table:0:-1" 2>/dev/null || true; } | awk '{s += $NF} END {print s + 0}'; }
debezium_capture() { # our median. kcat counts what is on the topic
  command -v kcat >/dev/null || return 0
  say "Debezium's source alone"
  copy_slot base dbz
  local peer=captured pid first="" n=0 n0=0 limit=$((SECONDS + 240)) took
  start_worker source; watch_peak "$pid" "$dir/peak.source" &
  while [ "$n" -lt $CHANGES ] && [ $SECONDS -lt $limit ] && kill -0 "$pid" 2>/dev/null; do
    n=$(topic_end)
    if [ -z "$first" ] && [ "$n" -gt 0 ]; then first=$(now) n0=$n; fi
    sleep 0.2
  done
  took=$(since "${first:-$(now)}")
  kill "$pid"; wait "$pid" 2>/dev/null || true; free_slot dbz
  note "capture to Kafka" Debezium "$(rate $((n - n0)) "$took")" changes/s \
    "**we: $(awk -v a="$1" -v b="$(rate $((n - n0)) "$took")" 'BEGIN {printf "%.1f", a / b}') x**; unwrapped, counted from its first event; peak RSS $(cat "$dir/peak.source") MiB"
}
peers_kafka() { # our medians: capture, through
  if [ ! -d "$peers_lib/source" ] || [ ! -d "$peers_lib/sink" ] || [ ! -d "$peers_lib/connect" ]; then
    note "through Kafka" "Debezium + JDBC sink" "not measured" "" "its jars are not on this machine"
    return
  fi
  debezium_capture "$1"
  say "Debezium and its JDBC sink, on the same backlog"
  fresh_acc; copy_slot base dbz
  local peer=through pid source sink first="" n=0 limit=$((SECONDS + 300)) seen="select n_tup_ins + n_tup_upd from pg_stat_user_tables where relname = 'acc'"
  start_worker source; source=$pid; watch_peak "$source" "$dir/peak.source" &
  start_worker sink; sink=$pid; watch_peak "$sink" "$dir/peak.sink" &
  until [ "$(tgt -c "select count(*) = 1000000 and sum(balance) = 300000 from acc")" = t ]; do
    n=$(tgt -c "$seen")
    if [ -z "$first" ] && [ "${n:-0}" -gt 0 ]; then first=$(now); fi
    if [ $SECONDS -gt $limit ] || ! kill -0 "$source" "$sink" 2>/dev/null; then tail -5 "$dir"/connect/*.out >&2; break; fi
    sleep 0.5
  done
  local took verdict; took=$(since "${first:-$(now)}"); verdict=$(verdict "$ACC")
  kill "$source" "$sink"; wait "$source" "$sink" 2>/dev/null || true; free_slot dbz
  note "source to target through Kafka" "Debezium + JDBC sink" "$(rate "$(tgt -c "$seen")" "$took")" changes/s \
    "**we: $(awk -v a="$2" -v b="$(rate $CHANGES "$took")" 'BEGIN {printf "%.1f", a / b}') x**; unwrapped, counted from its first row; peak RSS $(cat "$dir/peak.source") + $(cat "$dir/peak.sink") MiB; $verdict"
}
# Of one table alone. It brings the publications along, whatever its filter says, and must not meet them. Where it fails it ends its whole
# process group.
pgcopydb_first() {
  tgt -c "do \$\$ declare name text; begin for name in select pubname from pg_publication loop execute format('drop publication %I', name); end loop; end \$\$"
  rm -rf "$dir/pgcopydb"; printf '[include-only-table]\npublic.first\n' >"$dir/filter.ini"
  setsid -w pgcopydb clone --source "$SOURCE" --target "$TARGET" --dir "$dir/pgcopydb" --table-jobs 1 --index-jobs 1 --split-tables-larger-than 200MB \
    --filters "$dir/filter.ini" --no-owner --no-acl --not-consistent >"$dir/pgcopydb.out" 2>&1 || { tail -5 "$dir/pgcopydb.out" >&2; die "pgcopydb failed"; }
}
