source: select id::bigint as id, v, 'legacy-' || id as old from t
target: select id, v, old from t
