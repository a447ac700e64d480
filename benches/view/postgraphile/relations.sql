-- What PostGraphile needs to see of our tables: how they hang together, and the lists of a customer that follow no foreign key. The
-- timeline is written as well as we know to write it: so many of each record by index, then those are merged.
COMMENT ON TABLE record IS E'@foreignKey (customer_id) references customer (id)|@fieldName customer|@foreignFieldName records\n@foreignKey (source_id) references source (id)|@fieldName source|@foreignFieldName records';

CREATE FUNCTION customer_shown(c customer) RETURNS SETOF identifier STABLE LANGUAGE sql AS $$
  SELECT i.* FROM identifier i WHERE i.id IN
    (SELECT l.identifier_id FROM record r JOIN link l ON l.record_id = r.id WHERE r.customer_id = c.id)
$$;

CREATE FUNCTION customer_timeline(c customer) RETURNS SETOF event STABLE LANGUAGE sql AS $$
  SELECT e.* FROM record r CROSS JOIN LATERAL
    (SELECT k.* FROM event k WHERE k.record_id = r.id AND k.kind IN (1, 2, 3) ORDER BY k.occurred_at DESC, k.id DESC LIMIT 20) e
  WHERE r.customer_id = c.id ORDER BY e.occurred_at DESC, e.id DESC LIMIT 20
$$;

-- Sums in one currency, every report counted: less work than counting each order once, as the product does.
CREATE TYPE bought AS (purchases bigint, revenue bigint, currency text, first_at bigint, last_at bigint);
CREATE FUNCTION customer_bought(c customer) RETURNS bought STABLE LANGUAGE sql AS $$
  SELECT COUNT(*), (SUM(p.amount_minor) - SUM(p.refunded_minor))::bigint, MIN(p.currency), MIN(p.occurred_at), MAX(p.occurred_at)
  FROM record r JOIN purchase p ON p.record_id = r.id WHERE r.customer_id = c.id
$$;
