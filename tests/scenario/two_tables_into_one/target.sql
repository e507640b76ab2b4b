-- the discriminator is in the key, and each source table owns a partition: nothing of one is ever taken for the other's
create table customers (region text, id int, name text, state text, primary key (region, id)) partition by list (region);
create table customers_eu partition of customers for values in ('eu');
create table customers_us partition of customers for values in ('us');
