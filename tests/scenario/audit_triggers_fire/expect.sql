select * from t

source: select id from t
target: select id from seen
