insert into t values (1, 'ASCII'), (2, 'in UTF-8: é 日本');
insert into other values (1, 'in UTF-8: é 日本');
