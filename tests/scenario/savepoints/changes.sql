begin;
insert into t values (1, 'stays');
savepoint a;
insert into t values (2, 'goes');
savepoint b;
insert into t values (3, 'goes too');
rollback to a;
insert into t values (2, 'came back');
savepoint c;
update t set v = 'inner' where id = 1;
release c;
commit;

begin;
insert into t values (9, 'never');
rollback;

do $$
begin
  for g in 10..60 loop
    begin
      insert into t values (g, 'loop');
      if g % 3 = 0 then
        raise exception 'no';
      end if;
    exception when others then
      null;
    end;
  end loop;
end $$;
