insert into t (id) select generate_series(1, 20);

do $$
begin
  execute 'update t set ' || (select string_agg(format('c%s = %s', g, g), ', ') from generate_series(1, 1599, 3) g) || ' where id % 2 = 0';
end $$;

update t set id = id + 100 where id > 15;
