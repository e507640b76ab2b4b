create table t (id int primary key, a smallint[], b bigint[], c real[], d double precision[], e money[], f date[], g timestamp[], h time[], i timetz[], j interval[],
  k bit(3)[], l varbit[], m inet[], n cidr[], o macaddr[], p uuid[], q point[], r box[], s path[], u polygon[], v circle[], w json[], x xml[], y tsvector[],
  z tsquery[], aa int4range[], ab nummultirange[], ac pg_lsn[], ad char(4)[], ae varchar(6)[], af name[], ag oid[], ah xid8[], ai jsonpath[], aj line[], ak lseg[]);
