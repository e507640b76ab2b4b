select * from both_virtual

select id, a, v, b from from_virtual

select * from from_stored
