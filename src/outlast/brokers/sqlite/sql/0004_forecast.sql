-- Schema 4 only adds to schema 3, whose code does not know it and may still use the file (store.oldest_code stays 1).

-- loads: what a holder can do for each of its queues, as JSON (core.forecast.Offer by name); null: it tells none.
alter table holder add column loads text;

-- samples: the last counts of the queue, as JSON (core.forecast.Sample), about 5 s apart; their times are wall time.
alter table queue add column samples text;
