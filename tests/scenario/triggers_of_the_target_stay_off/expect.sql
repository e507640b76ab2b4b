select * from parent

select * from child

source: select 0::bigint as n
target: select count(*) as n from audit
