do $$
begin
  for g in 1..10000 loop
    insert into t values (g, 0);
    commit;
  end loop;
end $$;

do $$
begin
  for g in 1..2000 loop
    update t set v = v + g where id = g % 7 + 1;
    commit;
  end loop;
end $$;
