select * from t_1

select * from t_2
