# Sourced by run.sh: what expressions cost. The same backlog, of a table of ten columns, as it is and with five of them computed.

WIDE_CHANGES=800000 # 600,000 inserts, 200,000 updates of random rows, 100 to a transaction
WIDE="id bigint primary key, customer int not null, name text not null, email text not null, amount numeric(12,2) not null, qty int not null,
  created timestamptz not null, active boolean not null, note text, ref uuid not null"
# Target column = SQL over the source's columns, of a source's and of a target's row the same.
wide_columns=(
  "name|upper(name)"
  "email|lower(trim(email))"
  "amount|round(amount * 1.19, 2)"
  "active|CASE WHEN active THEN 'yes' ELSE 'no' END"
  "note|coalesce(note, 'none') || ' of ' || customer"
)

wide_backlog() {
  say "backlog: $WIDE_CHANGES changes of ten columns"
  src -c "create table wide ($WIDE)" -c "create publication wide_pub for table wide" -c "select pg_create_logical_replication_slot('wide', 'pgoutput')" >/dev/null
  src >/dev/null <<'SQL'
set synchronous_commit = off;
do $$ begin
  for i in 0..5999 loop
    insert into wide select g, g % 5000, 'name ' || g, ' Name' || g || '@Example.org', g * 0.07, g % 100, timestamptz '2026-01-01Z' + g * interval '1 s',
        g % 3 = 0, case when g % 4 > 0 then md5(g::text) end, md5(g::text)::uuid from generate_series(i * 100 + 1, i * 100 + 100) g;
    commit;
  end loop;
  for i in 0..1999 loop
    update wide set qty = qty + 1, amount = amount + 1, note = md5(i::text)
      where id in (select 1 + ((i * 100 + g) * 7368787::bigint) % 600000 from generate_series(1, 100) g);
    commit;
  end loop;
end $$;
SQL
  end_here; src -c "vacuum analyze wide"
}

fresh_wide() { # the type of column `active`
  tgt -c "set client_min_messages = error; drop table if exists wide" -c "create table wide (${WIDE/active boolean/active $1})"; calm
}

# A checksum of the table, or of what the expressions make of it.
wide_sum() { # EXPRESSIONS...
  local list=" id, customer, name, email, amount, qty, created, active, note, ref " entry
  for entry in "$@"; do list=${list/" ${entry%%|*}, "/" ${entry#*|}, "}; done
  echo "select count(*), sum(hashtextextended(r::text, 0)::numeric) from (select $list from wide) r"
}

stream_wide() { # LINES of its entry
  copy_slot wide ours; connector bench-wide wide_pub 'kind = "local"' $'[[table]]\nsource = "public.wide"'"$1"
  ours run bench-wide --no-copy --endpos "$end"
}

part_mapping() { # a backlog from source to target, once as it is and once through five expressions
  local round plain=() mapped=() end entry lines=$'\n[table.columns]' share peak_plain
  wide_backlog
  for entry in "${wide_columns[@]}"; do lines+=$'\n'"${entry%%|*} = \"${entry#*|}\""; done
  for round in $(seq "$RUNS"); do
    fresh_wide boolean; stream_wide ""; plain+=("$(rate $WIDE_CHANGES "$took")"); peak_plain=$peak
    must_equal "$(wide_sum)"
    fresh_wide text; stream_wide "$lines"; mapped+=("$(rate $WIDE_CHANGES "$took")")
    [ "$(src -c "$(wide_sum "${wide_columns[@]}")")" = "$(tgt -c "$(wide_sum)")" ] || die "source and target differ: what the expressions made"
  done
  share=$(awk -v a="$(median "${plain[@]}")" -v b="$(median "${mapped[@]}")" 'BEGIN {printf "%.0f", 100 * (1 - b / a)}')
  note "ten columns, as they are" "tablelift, local log" "$(spread "${plain[@]}")" rows/s "peak RSS $peak_plain MiB; checksums equal"
  note "ten columns, five expressions" "tablelift, local log" "$(spread "${mapped[@]}")" rows/s "$(ratio mapped plain): costs $share % (to be below 25); peak RSS $peak MiB; checksums equal"
  free_slot ours; free_slot wide
}
