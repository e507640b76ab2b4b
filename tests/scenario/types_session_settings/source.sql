do $$
begin
  execute format('alter database %I set datestyle to ''SQL, DMY''', current_database());
  execute format('alter database %I set intervalstyle to ''sql_standard''', current_database());
  execute format('alter database %I set extra_float_digits to -15', current_database());
  execute format('alter database %I set bytea_output to ''escape''', current_database());
  execute format('alter database %I set timezone to ''Asia/Kathmandu''', current_database());
  execute format('alter database %I set xmloption to ''document''', current_database());
end $$;
