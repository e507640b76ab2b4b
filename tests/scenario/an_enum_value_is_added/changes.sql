alter type mood add value 'happy';

insert into t values (2, 'happy');
insert into other values (1, 'goes on');

update t set m = 'ok' where id = 1;
