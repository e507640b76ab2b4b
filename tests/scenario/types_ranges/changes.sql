insert into t values
  (1, 'empty', 'empty', 'empty', 'empty', 'empty'),
  (2, '(,)', '[1.50,2.00)', '[2020-01-01 00:00+00,infinity)', '(,2020-01-01]', '(-infinity,infinity]'),
  (3, '[1,2]', '(,NaN]', '(,)', '[2020-01-01,)', '["2020-01-01 00:00:00","2020-01-01 00:00:00"]');

update t set a = a * '[0,1]' where id = 2;
