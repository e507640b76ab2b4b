create table t (id int, at date, v text, large text, primary key (id, at)) partition by range (at);
create table t_2024 partition of t for values from ('2024-01-01') to ('2025-01-01');
create table t_2025 partition of t for values from ('2025-01-01') to ('2026-01-01');
create table t_2026 partition of t for values from ('2026-01-01') to ('2027-01-01');
