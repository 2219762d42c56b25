"""What PostgreSQL has beside the tables: heads to lock, the one function that appends, and triggers that refuse the rest.

The role `serve` connects as may read the timeline and call the two functions; only their owner could write to it, and the
triggers stop even the owner from changing or removing what is written.
"""

from __future__ import annotations

from collections.abc import Iterator

# What a role that serves may do with each table; the timeline and its heads are written by functions alone.
READ_ONLY = ("timeline", "head", "signed", "archive", "alembic_version")
FUNCTIONS = (
    "lastgood_heads(text[],text[])",
    "lastgood_append(text[],integer[],integer[],text[],text[],integer[],text[],text[],text[])",
)

TABLES = """
CREATE TABLE head (
    stream text COLLATE "C" PRIMARY KEY, version integer NOT NULL DEFAULT 0, epoch integer NOT NULL DEFAULT 0,
    digest text NOT NULL DEFAULT '', at text COLLATE "C" NOT NULL DEFAULT ''
);
CREATE TABLE signed (stream text COLLATE "C" PRIMARY KEY, version integer NOT NULL);
"""

TRIGGERS = """
CREATE FUNCTION lastgood_follows() RETURNS trigger LANGUAGE plpgsql AS $body$
DECLARE last head%ROWTYPE;
BEGIN
    INSERT INTO head(stream) VALUES (NEW.stream) ON CONFLICT DO NOTHING;
    SELECT * INTO last FROM head WHERE stream = NEW.stream FOR UPDATE;
    IF NEW.version <> last.version + 1 OR NEW.prev <> last.digest THEN
        RAISE EXCEPTION 'an entry must follow the last one of its stream' USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    UPDATE head SET version = NEW.version, epoch = NEW.epoch, digest = NEW.digest, at = NEW.at WHERE stream = NEW.stream;
    RETURN NEW;
END $body$;
CREATE FUNCTION lastgood_refuses() RETURNS trigger LANGUAGE plpgsql AS $body$
BEGIN
    RAISE EXCEPTION 'the timeline is append-only' USING ERRCODE = 'integrity_constraint_violation';
END $body$;
CREATE TRIGGER timeline_follows BEFORE INSERT ON timeline FOR EACH ROW EXECUTE FUNCTION lastgood_follows();
CREATE TRIGGER timeline_no_update BEFORE UPDATE ON timeline FOR EACH ROW EXECUTE FUNCTION lastgood_refuses();
CREATE TRIGGER timeline_no_delete BEFORE DELETE ON timeline FOR EACH ROW EXECUTE FUNCTION lastgood_refuses();
CREATE TRIGGER timeline_no_truncate BEFORE TRUNCATE ON timeline FOR EACH STATEMENT EXECUTE FUNCTION lastgood_refuses();
"""

# Heads are locked one by one in the order of their names, so that two appends never wait for each other in a circle.
HEADS = """
CREATE FUNCTION lastgood_heads(given text[], written text[])
RETURNS TABLE(stream text, version integer, epoch integer, digest text, at text)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = {schema}, pg_temp AS $body$
#variable_conflict use_column
DECLARE name text;
BEGIN
    FOR name IN SELECT DISTINCT one COLLATE "C" AS one FROM unnest(given || written) AS one ORDER BY one LOOP
        INSERT INTO head(stream) VALUES (name) ON CONFLICT DO NOTHING;
        IF name = ANY(written) THEN
            RETURN QUERY SELECT h.stream, h.version, h.epoch, h.digest, h.at FROM head h WHERE h.stream = name FOR UPDATE;
        ELSE
            RETURN QUERY SELECT h.stream, h.version, h.epoch, h.digest, h.at FROM head h WHERE h.stream = name FOR SHARE;
        END IF;
    END LOOP;
END $body$;
"""

APPEND = """
CREATE FUNCTION lastgood_append(
    streams text[], versions integer[], epochs integer[], times text[], types text[], schemas integer[], bodies text[],
    prevs text[], digests text[]
) RETURNS bigint[] LANGUAGE plpgsql SECURITY DEFINER SET search_path = {schema}, pg_temp AS $body$
DECLARE place bigint; places bigint[] := '{{}}';
BEGIN
    FOR i IN 1 .. cardinality(streams) LOOP
        INSERT INTO timeline(stream, version, epoch, at, type, schema, body, prev, digest)
        VALUES (streams[i], versions[i], epochs[i], times[i], types[i], schemas[i], bodies[i], prevs[i], digests[i])
        RETURNING seq INTO place;
        places := places || place;
        IF types[i] = 'checkpoint.signed' THEN
            INSERT INTO signed(stream, version)
            SELECT key, (value->>0)::integer FROM jsonb_each(bodies[i]::jsonb->'heads') ORDER BY key
            ON CONFLICT (stream) DO UPDATE SET version = greatest(signed.version, excluded.version);
        END IF;
    END LOOP;
    RETURN places;
END $body$;
"""

# Only bodies the archive holds may be taken from their rows, and only by whoever owns the database: a role that serves may
# not take anything from the timeline.
ARCHIVE = """
CREATE FUNCTION lastgood_rests() RETURNS trigger LANGUAGE plpgsql AS $body$
BEGIN
    IF NEW.body = '' AND (NEW.seq, NEW.stream, NEW.version, NEW.epoch, NEW.at, NEW.type, NEW.schema, NEW.prev, NEW.digest)
        IS NOT DISTINCT FROM (OLD.seq, OLD.stream, OLD.version, OLD.epoch, OLD.at, OLD.type, OLD.schema, OLD.prev, OLD.digest)
        AND EXISTS (SELECT 1 FROM archive WHERE stream = OLD.stream AND OLD.version BETWEEN first AND last)
    THEN RETURN NEW; END IF;
    RAISE EXCEPTION 'the timeline is append-only' USING ERRCODE = 'integrity_constraint_violation';
END $body$;
DROP TRIGGER timeline_no_update ON timeline;
CREATE TRIGGER timeline_no_update BEFORE UPDATE ON timeline FOR EACH ROW EXECUTE FUNCTION lastgood_rests();
CREATE TRIGGER archive_no_update BEFORE UPDATE ON archive FOR EACH ROW EXECUTE FUNCTION lastgood_refuses();
CREATE TRIGGER archive_no_delete BEFORE DELETE ON archive FOR EACH ROW EXECUTE FUNCTION lastgood_refuses();
CREATE TRIGGER archive_no_truncate BEFORE TRUNCATE ON archive FOR EACH STATEMENT EXECUTE FUNCTION lastgood_refuses();
"""


def statements(schema: str) -> Iterator[str]:
    """Give the statements that follow the tables; `schema` is a quoted name, where the functions look and nowhere else."""
    yield TABLES
    yield TRIGGERS
    yield HEADS.format(schema=schema)
    yield APPEND.format(schema=schema)
    for function in FUNCTIONS:
        yield f"REVOKE ALL ON FUNCTION {function} FROM PUBLIC"


def grants(role: str, schema: str) -> Iterator[str]:
    """Give the statements that let a role serve; both names are quoted."""
    yield f"GRANT USAGE ON SCHEMA {schema} TO {role}"
    yield f"GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA {schema} TO {role}"
    yield f"GRANT USAGE, SELECT, UPDATE ON ALL SEQUENCES IN SCHEMA {schema} TO {role}"
    yield f"REVOKE ALL ON {', '.join(READ_ONLY)} FROM {role}"
    yield f"GRANT SELECT ON {', '.join(READ_ONLY)} TO {role}"
    yield f"REVOKE ALL ON SEQUENCE timeline_seq_seq FROM {role}"
    for function in FUNCTIONS:
        yield f"GRANT EXECUTE ON FUNCTION {function} TO {role}"
