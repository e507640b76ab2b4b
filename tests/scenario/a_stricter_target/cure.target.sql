alter table t drop constraint t_n_check;
