#!/usr/bin/env bash
# packages.sh [pg] [kafka] [versions] [build]     brings what is missing of: PostgreSQL's server, Java and Maven, what the build needs.
# With root or sudo through apt; else it says what to install and fails. Touches nothing where all is there.
set -euo pipefail
. "$(dirname "$0")/env.sh"
[ $# -gt 0 ] || set -- pg kafka versions build
missing=()
have() { command -v "$1" >/dev/null; }
for part in "$@"; do
  case $part in
    pg) find_pgbin >/dev/null && have psql && have pgbench || missing+=(postgresql postgresql-contrib);;
    versions) have mvn || missing+=(default-jre-headless maven); have xz || missing+=(xz-utils);;
    kafka) have java || missing+=(default-jre-headless); have mvn || missing+=(maven);;
    build)
      have cc || missing+=(gcc libc6-dev)
      have c++ || missing+=(g++)
      have make || missing+=(make)
      have pkg-config || missing+=(pkg-config)
      [ -e /usr/include/openssl/ssl.h ] || missing+=(libssl-dev)
      [ -e /usr/include/zlib.h ] || missing+=(zlib1g-dev)
      have cargo || die "cargo is not installed" "hint: a Rust toolchain is the one thing that is not brought here: https://rustup.rs";;
    *) die "unknown part \`$part\`" "hint: pg, kafka, versions or build";;
  esac
done
[ ${#missing[@]} -gt 0 ] || exit 0
sudo=(); if [ "$(id -u)" != 0 ]; then sudo=(sudo); fi
have apt-get || die "missing: ${missing[*]} (Debian's names)" "hint: install them with this system's package manager"
if [ "$(id -u)" != 0 ] && ! { have sudo && { sudo -n true 2>/dev/null || [ -t 0 ]; }; }; then
  die "missing: ${missing[*]}" "hint: sudo apt-get install ${missing[*]}"
fi
echo "installing: ${missing[*]}"
# Debian's PostgreSQL makes and starts a cluster of its own when it is installed. We need only the programs: forbid it for this
# one installation, and leave the machine's setting as it was.
drop=/etc/postgresql-common/createcluster.d/tablelift-no-main-cluster.conf
case " ${missing[*]} " in *" postgresql "*)
  trap '"${sudo[@]}" rm -f "$drop"' EXIT
  "${sudo[@]}" mkdir -p "$(dirname "$drop")"
  echo 'create_main_cluster = false' | "${sudo[@]}" tee "$drop" >/dev/null;;
esac
quiet=$(mktemp)
"${sudo[@]}" env DEBIAN_FRONTEND=noninteractive sh -c 'apt-get update -qq && apt-get install -y -qq --no-install-recommends "$@"' sh \
  "${missing[@]}" >"$quiet" 2>&1 </dev/null || { tail -20 "$quiet" >&2; rm -f "$quiet"; die "apt-get failed"; }
rm -f "$quiet"
