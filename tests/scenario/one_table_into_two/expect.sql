source: select id, name, email from users
target: select * from people

source: select id as person, street, city from users
target: select * from addresses
