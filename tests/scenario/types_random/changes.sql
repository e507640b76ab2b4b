insert into t select * from some_rows(301, 600);

delete from t where id % 5 = 0;

-- each row becomes another
begin; create temp table other as select * from some_rows(1, 600) as r where id % 5 <> 0; delete from t; insert into t select * from other; commit;

update t set (num, f8, txt, bytes, iv, ps, h, words) = (select num, f8, txt, bytes, iv, ps, h, words from other where other.id = t.id) where id % 3 = 0;

update t set (tz, jb, p, grid, ch, bits) = (select tz, jb, p, grid, ch, bits from some_rows(t.id, t.id)) where id % 3 = 1;

update t set js = to_json(some_text(id, 30)), ci = upper(ci::text) where id % 3 = 2;
