create table named (id int);
create function named(int) returns int language sql as 'select 1';
create table t (id int primary key, a regclass, b regtype, c regproc, d regprocedure, e regoper, f regoperator, g regrole, h regnamespace, i regconfig, j regdictionary,
  k regcollation, l xid, m xid8, n cid, o tid, p pg_snapshot, q refcursor, r oidvector, s int2vector, u "char"[], v regclass[], w aclitem);
