select id, a, b, c from made

select * from full_identity

select * from between
