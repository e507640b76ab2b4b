insert into t values
  (1, 'Äpfel, Öl, Übermut; ßÿ ñ ç æ ø å Þ ð ¿¡ «»', 'größer', 'ëé', 'stärker', '{ä,"ö ü",NULL}', '{"ü":  "é"}', '{"ü": "é"}'),
  (2, 'plain', 'ÄÖÜäöü', 'äöüß', 'schwach', '{}', null, null),
  (3, repeat('ÿ', 3000), null, null, null, null, null, null);
insert into "Straße" values ('Müller', 'ï'), ('müller', null), ('zu löschen', 'à');
insert into keyless values ('één'), ('één'), ('twee');
