source: select id::bigint, a, b::text, c::bigint, d::text, 'of the target'::text as extra from t
target: select id, a::text, b, c, d::text, extra from t
