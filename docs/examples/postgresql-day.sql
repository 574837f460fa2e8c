-- The table of a day, by nfacctd. Run with nfacctd 1.7.7 and PostgreSQL 15.
CREATE TABLE IF NOT EXISTS flows_%Y%m%d () INHERITS (flows);
