create extension if not exists hstore; create extension if not exists citext; create extension if not exists ltree;
create type mood as enum ('sad', 'so, so', 'ha"ppy', '\back');
create type pair as (n numeric, t text, m mood);
create domain short as varchar(40) check (value <> 'never');
create table t (
  id int primary key, int2 smallint, int8 bigint, num numeric, num2 numeric(30, 7), f4 real, f8 double precision, cash money, bool boolean,
  txt text, vc varchar(50), ch char(20), one "char", nm name, bytes bytea, bits varbit, fixed bit(11), d date, ts timestamp, tz timestamptz, tm time,
  tmz timetz, iv interval, u uuid, js json, jb jsonb, ip inet, net cidr, mac macaddr, pt point, bx box, ring circle, r4 int4range, rn numrange, rt tstzrange,
  multi int8multirange, ts_v tsvector, ts_q tsquery, x8 xid8, lsn pg_lsn, o oid, cls regtype, ints int[], grid float8[], words text[], moods mood[],
  m mood, p pair, ps pair[], s short, ss short[], h hstore, ci citext, path ltree, dates date[], docs jsonb[], blobs bytea[], spans interval[]);
