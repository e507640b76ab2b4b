insert into t values
  (3, 'sad', '{sad,NULL,"it''s \"quoted\", \\",""}', '(1,ok)', array['(1,sad)'::pair, '(,)', null], row(row(1, 'ok'), array[row(2, '')::pair], '{ok}'), null, 'A', '[2020-01-01,2020-02-01)', '{empty,"(-infinity,)"}'),
  (4, '', '{}', null, '{}', row(null, null, null), array[row(row(null, ''), '{}', null)::deep], 'b', null, null);

update t set m = 'sad', qs[2].a = 9 where id = 3;

update t set m = '' where id = 1;

insert into keyed values ('', '(2,)'), ('ok', '(,sad)');

update keyed set m = 'it''s "quoted", \' where m = 'ok';

delete from keyed where m = 'sad';
