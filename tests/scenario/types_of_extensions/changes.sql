insert into t values ('Key', 'a=>1, "b c"=>NULL, "q\"" => "x,y"', 'top.science', array['a.b'::ltree, 'c'], 'a.*{1,2}'), ('ÄÖ', '', '', '{}', null);

update t set h = h || 'new=>"v"' where id = 'KEY';

update t set id = 'other' where id = 'äö';

delete from t where id = 'OTHER';

insert into t values ('äö', null, 'x', null, null);
