create table t (id int primary key, a inet, b cidr, c macaddr, d macaddr8, e uuid, f point, g line, h lseg, i box, j path, k polygon, l circle, m pg_lsn, n txid_snapshot, o boolean);
