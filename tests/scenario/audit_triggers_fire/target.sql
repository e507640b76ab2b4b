create table seen (id int primary key, times int);
create function note() returns trigger language plpgsql as $$
begin
  insert into seen values (new.id, 1) on conflict (id) do nothing;
  return new;
end $$;
create trigger noted before insert or update on t for each row execute function note();
