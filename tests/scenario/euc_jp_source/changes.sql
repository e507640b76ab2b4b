insert into t values (4, '新しい行 \ / ~ ― ～', 'ヽヾゝゞ', '{{あ,い},{う,え}}', '["表"]');

update t set v = v || '、更新' where id = 1;

update t set short = '短い' where id = 3;

update "注文" set "番号" = 'イ' where "番号" = 'い';

delete from "注文" where "番号" = 'は';
