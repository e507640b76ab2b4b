insert into t select g, 'v' || g from generate_series(1, 10) g;

insert into feed values (3, 'merged'), (4, null), (502, 'inserted');

merge into t using feed on t.id = feed.id
  when matched and feed.v is null then delete
  when matched then update set v = feed.v
  when not matched then insert values (feed.id, feed.v, 9);
