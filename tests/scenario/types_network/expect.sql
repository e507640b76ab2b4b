select id, a, b, c, d, e, f::text, g::text, h::text, i::text, j::text, k::text, l::text, m, n::text, o from t
