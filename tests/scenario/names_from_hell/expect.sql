select * from "s.x""y"."T able;--"

select * from "UPPER"

select * from "a.b"

select * from a
