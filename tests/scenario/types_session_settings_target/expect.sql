select id, a at time zone 'UTC' as a, extract(epoch from b) as b, float8send(c) as c, encode(d, 'hex') as d, e::numeric as e, f - date '2000-01-01' as f, float4send(g) as g, h::text from t
