#!/usr/bin/env bash
# pg-version.sh MAJOR     the programs of PostgreSQL MAJOR (pg.versions says which): fetched from Maven once, then there. Prints their folder,
#                         which is a PGBIN for pg.sh. No psql and no pgbench among them: the system's speak to every server.
set -euo pipefail
. "$(dirname "$0")/env.sh"
major=${1:?major}
version=$(awk -v major="$major" '$1 == major { print $2 }' "$SERVERS/pg.versions")
[ -n "$version" ] || die "no PostgreSQL \`$major\` to fetch" "hint: one of $(awk '/^[0-9]/ { printf "%s ", $1 }' "$SERVERS/pg.versions")"
# Where the servers' user can read it: a clone below a closed home folder cannot hold what root runs as somebody else.
mkdir -p "$TOOLS"
home=$TOOLS/postgres
as_server test -x "$TOOLS" || home=/var/tmp/tablelift-postgres
mkdir -p "$home"; [ -O "$home" ] || die "\`$home\` is not ours" "hint: remove it, or set TABLELIFT_TOOLS to a folder that $(server_user) may enter"
chmod 755 "$home"
at=$home/$version
if [ ! -e "$at/complete" ]; then
  exec 9>"$home/lock"; flock 9                      # two test runs may start at once
fi
if [ ! -e "$at/complete" ]; then
  echo "fetching PostgreSQL $version" >&2
  rm -rf "$at"; mkdir -p "$at"
  system=linux-$(uname -m | sed 's/x86_64/amd64/; s/aarch64/arm64v8/')
  mkdir "$at/jar"; cd "$at/jar"                     # there: without a project it leaves a folder of its own where it stands
  mvn -q -B -Dstyle.color=never org.apache.maven.plugins:maven-dependency-plugin:3.6.1:unpack \
    -Dartifact="io.zonky.test.postgres:embedded-postgres-binaries-$system:$version" -DoutputDirectory="$at/jar" </dev/null >&2
  tar xJf "$at"/jar/*.txz -C "$at"; cd "$at"; rm -rf jar
  chmod -R a+rX "$at"; touch "$at/complete"
fi
echo "$at/bin"
