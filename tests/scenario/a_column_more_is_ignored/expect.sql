source: select id, v from t
target: select id, v from t
