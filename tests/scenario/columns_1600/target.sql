do $$
begin
  execute 'create table t (id int primary key, ' || (select string_agg(format('c%s smallint', g), ', ') from generate_series(1, 1599) g) || ')';
end $$;
