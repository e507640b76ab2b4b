source: select 'eu' as region, id, name, null as state from customers_eu union all select 'us', id, name, state from customers_us
target: select * from customers
