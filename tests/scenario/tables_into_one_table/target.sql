-- one plain table; the discriminator is in its key
create table orders (id bigint, origin text collate "C", note text, price numeric(10,2), state text, primary key (origin, id));
create unique index on orders (note);
