insert into t values (1, null, 0.000123, 1000), (2, 12345, -0.000999, 2499), (3, -100, 0, -1000), (4, 9999949, 0.0009994, 9999499), (5, 0, null, null);

update t set j = j * 10 where id in (2, 3);

update t set id = id + 10 where id > 3;

update t set key_too = key_too + 100000 where id < 3;
