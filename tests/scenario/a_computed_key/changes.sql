update t set id = id + 100 where id < 5;

delete from t where id = 10;

update t set v = 'w' where id = 11;
