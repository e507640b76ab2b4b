source: select id::bigint as order_id, first || ' ' || coalesce(last, '?') as name, round(cents / 100.0, 2)::numeric(12, 2) as total,
  case state when 'n' then 'new' when 'p' then 'paid' else 'unknown' end as state, array[state::text, country] as tags,
  (at at time zone 'UTC')::date as day, length(blob) as size, 'moved'::text as origin,
  case country when 'de' then 'Germany' when 'it' then 'Italy' end as land, upper(first) || '!' as loud, jsonb_build_object('old', doc, 'id', id) as doc from orders
target: select * from orders
