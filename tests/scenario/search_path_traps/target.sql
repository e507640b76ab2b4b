do $$
begin
  execute format('alter database %I set search_path to trap, pg_catalog, public', current_database());
end $$;
