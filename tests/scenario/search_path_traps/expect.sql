select * from public.t
