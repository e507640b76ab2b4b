create sequence s start 100;
create table t (id int primary key default nextval('s'), at timestamptz default now(), r float8 default random(), who text default current_user);
