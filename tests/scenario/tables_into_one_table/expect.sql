source: select 'eu' as origin, id::bigint, note, price, null as state from orders_eu union all select 'us', id, note, null, state from orders_us union all select 'jp', nr, note, null, null from orders_jp
target: select origin, id, note, price, state from orders
