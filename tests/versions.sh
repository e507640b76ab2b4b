#!/usr/bin/env bash
# versions.sh core            what hangs most on the server's version, from and to the oldest and the newest: a part of `make test`
# versions.sh [FROM:TO]...    all stories from each version of PostgreSQL to each, or these pairs only; the other integration tests where both
#                             are the same (SUITES=scenarios: without them). Results go into the table of tests/VERSIONS.md: all anew, or these pairs' in it.
set -euo pipefail
. "$(dirname "$0")/servers/env.sh"
cd "$ROOT"
out=target/versions results=target/versions/results table=tests/VERSIONS.md threads=${RUST_TEST_THREADS:-3}
majors=(14 15 16 17 18)
core_it="a_table_comes_that_the_stream_has_met it_goes_and_is_changed_by_itself can_be_altered"  # of PostgreSQL 14 alone
core="generated_are_published identity_and_generated keyless_duplicates nulls_not_distinct partitions_as_one toast_identity_index truncates types_times"
mkdir -p "$out"
# What a test run has started its watchdog ends (tests/servers/watch.sh), however the run went: here is nothing more to clean up.
trap 'printf "\nstopped: the table is as it was\n" >&2; exit 130' INT TERM

live() { # on a terminal, how many tests have ended
  if [ -t 1 ]; then awk '/ \.\.\. /{ n++; if (/FAILED/) bad++; printf "\r   %d ended, %d failed ", n, bad; fflush() } END { printf "\r\033[K" }'
  else cat >/dev/null; fi
}
# Runs one test binary from FROM to TO. Prints its counts, and adds a line to the results: FROM TO SUITE PASSED FAILED DATE
suite() { # FROM TO SUITE
  local log=$out/$1-$2-$3.log begin=$SECONDS counts
  TABLELIFT_SOURCE_PG=$1 TABLELIFT_TARGET_PG=$2 cargo test -q --no-fail-fast --test "$3" -- ${only:-} --test-threads="$threads" --format pretty 2>&1 |
    tee "$log" | live || true
  counts=$(sed -nE 's/^test result: .* ([0-9]+) passed; ([0-9]+) failed.*/\1 \2/p' "$log")
  [ -n "$counts" ] || { tail -20 "$log" >&2; die "the tests of \`$3\` did not come to an end: $log"; }
  echo "$1 -> $2  $3: ${counts% *} passed, ${counts#* } failed, $((SECONDS - begin)) s"
  grep -E '^test .*\.\.\. FAILED' "$log" || true
  awk -v f="$1" -v t="$2" -v s="$3" '!($1 == f && $2 == t && $3 == s)' "$results" >"$results.new"
  echo "$1 $2 $3 $counts $(date -u +%F)" >>"$results.new"; mv "$results.new" "$results"
  [ "${counts#* }" = 0 ] || failed=$((failed + 1))
}
# The part of the page between its two marks: passed tests a cell, and what failed below.
write_table() {
  awk -v majors="${majors[*]}" '
    { passed[$1, $2] += $4; failed[$1, $2] += $5; if ($6 > last) last = $6; if (first == "" || $6 < first) first = $6
      if ($3 != "scenarios") all[$1, $2] = 1 }
    END {
      n = split(majors, v, " ")
      printf "Run on %s%s.\n\n| source \\ target |", first, first == last ? "" : " to " last
      for (t = 1; t <= n; t++) printf " %s |", v[t]; printf "\n| --- |"; for (t = 1; t <= n; t++) printf " --- |"; print ""
      for (s = 1; s <= n; s++) {
        printf "| %s |", v[s]
        for (t = 1; t <= n; t++) { k = v[s] SUBSEP v[t]
          if (!(k in passed)) printf " not run |"
          else printf " %s%s%s |", passed[k], failed[k] ? " of " passed[k] + failed[k] : "", (k in all) ? " (all)" : "" }
        print "" }
    }' "$results" >"$out/table"
  awk '{ print $1, $2, $3 }' "$results" | while read -r from to name; do
    sed -nE "s/^test (.*[^ ]) +\.\.\. FAILED.*/- $from to $to: \`\1\`/p" "$out/$from-$to-$name.log"
  done >"$out/failures"
  if [ -s "$out/failures" ]; then { printf '\nFailed:\n\n'; cat "$out/failures"; } >>"$out/table"; fi
  awk -v from="$out/table" '/^<!-- end/ { while ((getline line < from) > 0) print line } !inside || /^<!-- end/; /^<!-- begin/ { inside = 1 } /^<!-- end/ { inside = 0 }' \
    "$table" >"$out/page"
  cat "$out/page" >"$table"
}

failed=0
if [ "${1:-}" = core ]; then
  # Versions before 15 lack what some of these stories need: the runner leaves those out.
  export STORIES=$core
  results=$out/core; : >"$results"
  for pair in 13:18 14:14 18:18; do suite "${pair%:*}" "${pair#*:}" scenarios; done
  only=$core_it suite 14 14 it
  only=one_is_locked_while_another_comes suite 18 18 it  # whose pg_publication_tables waits for a table's lock
else
  unset STORIES                                       # a part of them says nothing about a pair
  pairs=("$@") square=()
  for from in "${majors[@]}"; do for to in "${majors[@]}"; do square+=("$from:$to"); done; done
  if [ ${#pairs[@]} = 0 ]; then pairs=("${square[@]}"); rm -f "$results"; fi
  touch "$results"
  for at in "${!pairs[@]}"; do
    from=${pairs[at]%:*} to=${pairs[at]#*:}
    echo "== $((at + 1)) of ${#pairs[@]}: from PostgreSQL $from to $to"
    more=; if [ "$from" = "$to" ]; then more="it it_kafka it_source"; fi
    for name in ${SUITES:-scenarios $more}; do suite "$from" "$to" "$name"; done
  done
  write_table
  echo "written: $table"
fi
[ "$failed" = 0 ] || die "$failed of the runs have failures" "hint: their logs are in $out/"
