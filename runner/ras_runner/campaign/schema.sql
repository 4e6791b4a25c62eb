-- The journal. `events` is the record, append-only; the tables below it are derived from the events and can be made again.
CREATE TABLE events (
    id       INTEGER PRIMARY KEY,
    at       REAL NOT NULL,            -- unix time, seconds
    campaign TEXT NOT NULL,
    kind     TEXT NOT NULL,
    data     TEXT NOT NULL             -- JSON object
);
CREATE INDEX events_campaign ON events (campaign, id);
CREATE INDEX events_kind ON events (campaign, kind);

CREATE TABLE campaigns (
    id       TEXT PRIMARY KEY,
    project  TEXT NOT NULL,            -- path of the .prj; of several the first
    title    TEXT NOT NULL,
    created  REAL NOT NULL,
    ended    REAL,
    state    TEXT NOT NULL,            -- running | finished
    workers  TEXT NOT NULL,            -- JSON list of {type, parameters}: secret references only
    settings TEXT NOT NULL             -- JSON object
);
CREATE TABLE tasks (
    campaign  TEXT NOT NULL,
    plan      TEXT NOT NULL,           -- number, or Name.pNN in a campaign of several projects
    seq       INTEGER NOT NULL,
    title     TEXT NOT NULL,
    flow_type TEXT NOT NULL,
    expected  REAL,                    -- seconds
    outcome   TEXT,
    message   TEXT NOT NULL DEFAULT '',
    skipped   INTEGER NOT NULL DEFAULT 0,
    worker    TEXT NOT NULL DEFAULT '',
    engine    TEXT NOT NULL DEFAULT '',
    result    TEXT,
    seconds   REAL,
    warnings  TEXT NOT NULL DEFAULT '[]',
    project   TEXT NOT NULL DEFAULT '',  -- path of its .prj
    PRIMARY KEY (campaign, plan)
);
CREATE TABLE attempts (
    id        TEXT PRIMARY KEY,
    campaign  TEXT NOT NULL,
    plan      TEXT NOT NULL,
    number    INTEGER NOT NULL,
    worker    TEXT NOT NULL,
    slot      INTEGER NOT NULL,
    state     TEXT NOT NULL,           -- staging | launching | running | unpublished | ended
    folder    TEXT NOT NULL,           -- on the worker
    tree      TEXT NOT NULL DEFAULT '', -- the staged project folder below it
    inputs    TEXT NOT NULL DEFAULT '', -- digest of everything the staged plan is made of
    native_id TEXT NOT NULL DEFAULT '',
    created   REAL NOT NULL,
    launched  REAL,
    ended     REAL,
    outcome   TEXT,
    message   TEXT NOT NULL DEFAULT '',
    staged    INTEGER NOT NULL DEFAULT 0,  -- bytes
    blame     TEXT NOT NULL DEFAULT 'nobody',
    cleaned   INTEGER NOT NULL DEFAULT 0,
    progress  REAL,                    -- fraction of the simulated time; not from events
    stage     TEXT NOT NULL DEFAULT 'whole',   -- whole | prepare | solve
    prepared_by TEXT NOT NULL DEFAULT ''       -- the program whose files a solve started from
);
CREATE INDEX attempts_campaign ON attempts (campaign, plan);

CREATE TABLE receipts (
    project  TEXT NOT NULL,
    plan     TEXT NOT NULL,
    engine   TEXT NOT NULL,
    inputs   TEXT NOT NULL,
    result   TEXT NOT NULL,            -- file name of the results HDF in the project folder
    digest   TEXT NOT NULL,            -- BLAKE3 of the result
    outcome  TEXT NOT NULL,
    warnings TEXT NOT NULL,
    seconds  REAL NOT NULL,
    worker   TEXT NOT NULL,
    campaign TEXT NOT NULL,
    attempt  TEXT NOT NULL,
    at       REAL NOT NULL,
    PRIMARY KEY (project, plan)
);
CREATE TABLE digests (
    path      TEXT PRIMARY KEY,
    signature TEXT NOT NULL,
    digest    TEXT NOT NULL
);
