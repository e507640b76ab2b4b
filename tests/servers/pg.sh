#!/usr/bin/env bash
# pg.sh start DIR PORT [CONF LINE]...   a private PostgreSQL cluster in DIR (made if missing) on 127.0.0.1:PORT and a socket in DIR,
#                                       superuser `postgres`, no password. CONF LINEs go to postgresql.conf, once, when it is made.
# pg.sh stop DIR [fast|immediate|smart] · pg.sh promote DIR · pg.sh reload DIR
# pg.sh copy DIR PORT FROM_PORT         a streaming standby in DIR of the cluster on FROM_PORT
set -euo pipefail
. "$(dirname "$0")/env.sh"
bin=$(find_pgbin) || die "no PostgreSQL server found" "hint: tests/servers/packages.sh pg"
usage() { sed -n 2,5p "$0" >&2; exit 2; }
[ $# -ge 2 ] || usage
what=$1 dir=$2
reachable() { # the folder above DIR belongs to the one who runs the server
  mkdir -p "$(dirname "$dir")"
  if [ "$(id -u)" = 0 ]; then chown "$(server_user)" "$(dirname "$dir")"; fi
}
conf() { # PORT
  cat <<C
listen_addresses = '127.0.0.1'
port = $1
unix_socket_directories = '$dir'
wal_level = logical
max_wal_senders = 120
max_replication_slots = 120
max_connections = 300
log_min_messages = warning
log_line_prefix = '%m [%p] %d %a '
C
}
start() { # in the server's own folder: the one we stand in may be closed to its user
  (cd "$dir" && as_server "$bin/pg_ctl" -D "$dir" -l "$dir/log" -t 60 -w -s start) ||
    { tail -20 "$dir/log" >&2; die "PostgreSQL did not start in \`$dir\`"; }
}
# Not pg_basebackup: it is not among the programs of pg-version.sh, and the system's knows no server that is newer than itself.
backup() { # FROM_PORT
  local begin='pg_backup_start' end='pg_backup_stop(false)' data
  ask() { (cd / && as_server psql -XqAt -h 127.0.0.1 -p "$1" -U postgres -d postgres); }
  data=$(ask "$1" <<<'show data_directory')
  if [ "$(cat "$data/PG_VERSION")" -lt 15 ]; then begin='pg_start_backup' end='pg_stop_backup(false, false)'; fi
  ask "$1" <<S
select from $begin('copy', true$([ "$begin" = pg_backup_start ] || echo ', false'));
\\! cp -a '$data' '$dir' && cd '$dir' && rm -rf postmaster.* pg_replslot/*
\\o $dir/backup_label
select labelfile from $end;
S
}
case $what in
  start)
    if [ ! -e "$dir/PG_VERSION" ]; then
      port=${3:?port}; reachable
      (cd / && as_server "$bin/initdb" -D "$dir" -U postgres -A trust -E UTF8 --locale=C.UTF-8 --no-sync >/dev/null)
      { conf "$port"; shift 3; [ $# = 0 ] || printf '%s\n' "$@"; } | as_server tee -a "$dir/postgresql.conf" >/dev/null
    fi
    start;;
  copy)
    port=${3:?port} from=${4:?port}; reachable
    backup "$from"
    printf '%s\n' "port = $port" "unix_socket_directories = '$dir'" "primary_conninfo = 'host=127.0.0.1 port=$from user=postgres'" |
      as_server tee -a "$dir/postgresql.conf" >/dev/null
    as_server touch "$dir/standby.signal"
    start;;
  stop) [ ! -e "$dir/postmaster.pid" ] || (cd "$dir" && as_server "$bin/pg_ctl" -D "$dir" -m "${3:-fast}" -t 60 -w -s stop);;
  promote) (cd "$dir" && as_server "$bin/pg_ctl" -D "$dir" -w -s promote);;
  reload) (cd "$dir" && as_server "$bin/pg_ctl" -D "$dir" -s reload);;
  *) usage;;
esac
