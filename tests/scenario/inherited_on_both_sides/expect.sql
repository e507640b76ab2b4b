select * from only t

select * from only heir

select * from only heir_of_heir

select * from only filtered where v = 'in'

select * from only filtered_heir where v = 'in'

select * from only keyless

select * from only keyless_heir

select * from only emptied

select * from only emptied_heir

source: select 'nothing is left that the filter bars'
target: select case when bool_and(v = 'in') then 'nothing is left that the filter bars' end from filtered
