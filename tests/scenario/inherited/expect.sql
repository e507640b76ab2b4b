source: select * from only t
target: select * from t

select * from heir
