insert into t values (100, 'EU', 'in'), (101, 'US', 'out'), (102, null, 'out');

-- rows come in and go out
update t set region = 'US' where id between 1 and 10;

update t set region = 'EU' where id between 20 and 30;

update t set region = null where id = 31;

update t set id = id + 1000 where id between 32 and 36;

update t set id = 500, region = 'EU' where id = 101;

delete from t where id between 37 and 38;

begin;
update t set region = 'US' where id = 25;
update t set v = 'seen' where id = 25;
update t set region = 'EU' where id = 25;
commit;
