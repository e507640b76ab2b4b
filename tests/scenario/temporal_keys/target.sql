create table room (id int, during daterange, guest text, primary key (id, during));
create table stay (id int, during daterange, note text, primary key (id, during));
