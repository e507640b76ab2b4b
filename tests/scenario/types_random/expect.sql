select t::text from t
