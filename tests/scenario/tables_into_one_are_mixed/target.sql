-- the key's column tells no case apart, so the two constants are one
create collation any_case (provider = icu, locale = 'und-u-ks-level2', deterministic = false);
create table t (origin text collate any_case, id int, v text, primary key (origin, id));
