insert into t values (4, 'né à côté', 'ßßßßßß', 'åå', 'stärker', '{{é,è},{ê,ë}}', '["\u00fc"]', '["ü"]');

update t set v = v || ' und größer', a = array_append(a, 'ÿ') where id = 1;

update t set "größe" = 'klein' where id = 3;

update t set c = 'öö', k = 'stärker' where id = 2;

update "Straße" set "Schlüssel" = 'Möller' where "Schlüssel" = 'Müller';

update "Straße" set "naïve" = 'ÿ' where "Schlüssel" = 'müller';

delete from "Straße" where "Schlüssel" = 'zu löschen';

delete from keyless where ctid = (select min(ctid) from keyless where v = 'één');
