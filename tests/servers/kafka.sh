#!/usr/bin/env bash
# kafka.sh start DIR PORT   a real one-node Apache Kafka (KRaft) in DIR on 127.0.0.1:PORT, controller on PORT+1; its pid in DIR/pid.
#                           Returns when it answers a request, after about a second. BROKER=bench tunes it to run, not to start.
# kafka.sh stop DIR · kafka.sh fetch        fetch: the jars, a formatted log folder, the class archive; once, start does it too
set -euo pipefail
. "$(dirname "$0")/env.sh"
home=$TOOLS/kafka jars=$TOOLS/kafka/jars archive=$TOOLS/kafka/classes.jsa blank=$TOOLS/kafka/blank
# An explicit list, sorted: the class archive holds only for the exact class path that it was made with.
classpath() { printf '%s:' "$jars"/*.jar | sed 's/:$//'; }

properties() { # DIR PORT
  cat <<C
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:$(($2 + 1))
controller.listener.names=CONTROLLER
listeners=PLAINTEXT://127.0.0.1:$2,CONTROLLER://127.0.0.1:$(($2 + 1))
advertised.listeners=PLAINTEXT://127.0.0.1:$2
log.dirs=$1/log
offsets.topic.replication.factor=1
offsets.topic.num.partitions=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
transaction.state.log.num.partitions=1
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
group.initial.rebalance.delay.ms=0
auto.create.topics.enable=false
num.network.threads=2
num.io.threads=4
C
}
# ApiVersions, version 0, by hand: ready means that the broker answers, not that the port is open.
answers() { # PORT
  timeout 2 bash -c 'exec 3<>"/dev/tcp/127.0.0.1/$0" && printf "\0\0\0\12\0\22\0\0\0\0\0\1\377\377" >&3 && [ "$(head -c 4 <&3 | wc -c)" = 4 ]' "$1" 2>/dev/null
}
launch() { # DIR PORT JVM FLAG...
  local dir=$1 port=$2; shift 2
  mkdir -p "$dir"; properties "$dir" "$port" >"$dir/server.properties"
  [ -e "$dir/log/meta.properties" ] || { mkdir -p "$dir/log"; cp "$blank"/* "$dir/log/"; }
  setsid java -Xmx512m "$@" -Djava.net.preferIPv4Stack=true -cp "$(classpath)" kafka.Kafka "$dir/server.properties" >"$dir/out" 2>&1 </dev/null &
  local pid=$!; echo "$pid" >"$dir/pid"
  for _ in $(seq 1 600); do
    answers "$port" && return 0
    kill -0 "$pid" 2>/dev/null || break
    sleep 0.05
  done
  tail -20 "$dir/out" >&2; die "the broker did not start in \`$dir\`"
}
halt() { # DIR: orderly; where the data is thrown away a kill -9 of the pid is quicker
  local pid; pid=$(cat "$1/pid" 2>/dev/null) || return 0
  kill "$pid" 2>/dev/null || true
  for _ in $(seq 1 200); do kill -0 "$pid" 2>/dev/null || break; sleep 0.05; done
  kill -9 "$pid" 2>/dev/null || true; rm -f "$1/pid"
}
fetch() {
  mkdir -p "$home"; exec 9>"$home/lock"; flock 9     # two test runs may start at once
  if [ ! -e "$jars/complete" ] || ! cmp -s "$SERVERS/pom.xml" "$jars/complete"; then
    rm -rf "$jars" "$archive" "$blank"
    mvn -q -B -Dstyle.color=never -f "$SERVERS/pom.xml" org.apache.maven.plugins:maven-dependency-plugin:3.6.1:copy-dependencies \
      -DoutputDirectory="$jars" -DincludeScope=runtime </dev/null >&2
    cp "$SERVERS/pom.xml" "$jars/complete"
  fi
  local scratch; scratch=$(mktemp -d)
  if [ ! -e "$blank/bootstrap.checkpoint" ]; then    # two files that name no port: a start copies them instead of formatting
    local id; id=$(java -XX:TieredStopAtLevel=1 -cp "$(classpath)" kafka.tools.StorageTool random-uuid)
    properties "$scratch" 39990 >"$scratch/p"
    java -XX:TieredStopAtLevel=1 -cp "$(classpath)" kafka.tools.StorageTool format -t "$id" -c "$scratch/p" >/dev/null
    mkdir -p "$blank.new"; cp "$scratch"/log/{meta.properties,bootstrap.checkpoint} "$blank.new/"; mv "$blank.new" "$blank"
    rm -rf "$scratch/log"
  fi
  if [ ! -e "$archive" ]; then                       # the classes that a start loads, dumped when a first broker ends
    launch "$scratch" $((20000 + RANDOM % 12000)) -XX:+UseSerialGC -XX:ArchiveClassesAtExit="$archive.new" 9>&-
    halt "$scratch"; mv "$archive.new" "$archive"
  fi
  rm -rf "$scratch"; exec 9>&-
}
case ${1:-} in
  fetch) fetch;;
  start)
    dir=${2:?folder} port=${3:?port}
    fetch
    share=(-XX:SharedArchiveFile="$archive" -Xshare:auto -Xlog:cds=off -Xlog:cds+dynamic=off)
    case ${BROKER:-test} in
      bench) launch "$dir" "$port" -XX:+UseG1GC "${share[@]}";;
      *) launch "$dir" "$port" -XX:+UseSerialGC -XX:TieredStopAtLevel=1 "${share[@]}";;
    esac;;
  stop) halt "${2:?folder}";;
  *) sed -n 2,4p "$0" >&2; exit 2;;
esac
