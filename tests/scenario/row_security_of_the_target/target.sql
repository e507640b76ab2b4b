alter table t enable row level security;
alter table t force row level security;
create policy mine on t using (tenant = 1) with check (tenant = 1);
