create table audit (what text);
create function note() returns trigger language plpgsql as $$ begin insert into audit values (tg_op); return null; end $$;
create trigger noted after insert or update or delete on child for each row execute function note();
create function twist() returns trigger language plpgsql as $$ begin new.parent := null; return new; end $$;
create trigger twisted before insert or update on child for each row execute function twist();
