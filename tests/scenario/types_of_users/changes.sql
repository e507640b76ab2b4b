insert into t values
  (1, 'sad', '{sad,NULL,"happy, very","with \"quotes\"",""}', 'A', 1, '{a,b}', '(1,x)', array['(1,"a b")'::pair, '(,)', null], row(row(1, 'x,y'), array[row(2, '"')::pair], 'ok', 5), null),
  (2, '', '{}', 'b', null, null, '(,)', '{}', row(null, null, null, null), array[row(row(null, ''), '{}', 'sad', 1)::deep]),
  (3, null, null, null, null, null, null, null, null, null);

update t set q.b = E'back\\slash and (parens)', m = 'ok' where id = 1;

update t set qs[2].a = 9 where id = 1;
