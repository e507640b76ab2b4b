insert into room values (1, '[2026-02-01,2026-03-01)', 'next'), (1, '[2026-03-01,)', 'last');

update room set during = daterange('2026-02-10', '2026-02-20') where guest = 'next';
update room set during = daterange('2026-02-20', null) where guest = 'last';

update stay set note = 'moved', during = '[2026-01-04,2026-01-06)' where id > 10;

delete from stay where id < 5;

delete from room where id = 2;

update room set guest = guest || '!' where id > 15;
