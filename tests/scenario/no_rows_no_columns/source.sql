insert into nothing default values;
insert into only_a_key values (1), (2);
