create table country (code text primary key, name text);
insert into country values ('de', 'Germany'), ('it', 'Italy');
create function shout(text) returns text language sql immutable as 'select upper($1) || ''!''';
create table orders (order_id bigint primary key, name text not null, total numeric(12, 2), state text, tags text[], day date, size int, origin text default 'legacy', land text, loud text, doc jsonb);
