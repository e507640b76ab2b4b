insert into t values
  (1, '日本語、ひらがな、カタカナ、ABC、①', '四文字だ', '{東京,"大 阪",NULL}', '{"名":  "値"}'),
  (2, 'ｶﾅ half width, 漢字', null, '{}', null),
  (3, repeat('鬱', 3000), 'あ', null, null);
insert into "注文" values ('い', '一'), ('ろ', null), ('は', '消える');
