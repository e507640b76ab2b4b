create table t (id int primary key, u int unique deferrable initially deferred, v text);
