begin; insert into child values (1000, 500, 'first the child'); insert into parent values (500, 'then its parent'); commit;

begin; delete from parent where id = 3; update child set p = 4 where p = 3; commit;

begin; update parent set id = 700 where id = 7; update child set p = 700 where p = 7; commit;
