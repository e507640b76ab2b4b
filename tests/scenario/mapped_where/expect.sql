source: select * from t where region = 'EU'
target: select * from t
