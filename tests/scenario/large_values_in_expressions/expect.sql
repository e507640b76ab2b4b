source: select id, n, n || ': ' || left(large, 10) as words, length(large) as size from t
target: select * from t
