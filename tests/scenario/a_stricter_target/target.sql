alter table t add check (n >= 0);
