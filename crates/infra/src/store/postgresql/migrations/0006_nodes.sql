-- Where other nodes reach the one that writes: host:port. Absent where there are no other nodes.
ALTER TABLE writer ADD COLUMN address text;
