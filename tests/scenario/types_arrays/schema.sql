create table t (id int primary key, a int[], b text[], c numeric[][], d timestamptz[], e bytea[], f boolean[], g jsonb[], h int4range[]);
